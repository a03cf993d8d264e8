/** What the configuration says of the S3 endpoint, and what engines are told of it. */
import { type Env, lakeLocation } from "../../durable-objects/index.ts";
import { CREDENTIALS_SECONDS, vendCredentials } from "./credentials.ts";

/** Bucket of `s3://<bucket>`. */
export const lakeBucketName = (env: Env): string => new URL(lakeLocation(env)).host;

/** What credentials are made with; without either secret none are vended. */
export const credentialsSecret = (env: Env): string | undefined => env.LAKE_CREDENTIALS_SECRET ?? env.JWT_SECRET;

/** What engines call a bucket that has no regions; some refuse to go without. */
const REGION = "auto";

/**
 * Table configuration that lets an engine read a gateway's files through this Worker (Iceberg's S3 properties).
 * @param origin where the caller reached this Worker
 * @param grant of a verified token, which the credentials do not outlive
 */
export async function s3Config(
  env: Env,
  origin: string,
  grant: { readonly gatewayId: string; readonly exp: number },
): Promise<Record<string, string> | undefined> {
  const secret = credentialsSecret(env);
  if (!secret) return undefined;
  const expires = Math.min(Math.floor(Date.now() / 1000) + CREDENTIALS_SECONDS, grant.exp);
  const { accessKeyId, secretAccessKey, sessionToken } = await vendCredentials(secret, grant.gatewayId, expires);
  return {
    "s3.endpoint": `${(env.PUBLIC_URL ?? origin).replace(/\/$/, "")}/s3`,
    "s3.path-style-access": "true",
    "s3.region": REGION,
    "client.region": REGION,
    "s3.access-key-id": accessKeyId,
    "s3.secret-access-key": secretAccessKey,
    "s3.session-token": sessionToken,
    "s3.session-token-expires-at-ms": String(expires * 1000),
  };
}
