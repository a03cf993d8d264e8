/**
 * A service account's key, and the tokens that it signs: BigQuery takes a JWT with a scope as it is, so that no token has
 * to be fetched (Google, "Authenticate with JSON Web Tokens").
 */
import { importPKCS8, SignJWT } from "jose";
import { z } from "zod";
import { LakeSyncError } from "../../schemas/index.ts";

const keySchema = z.object({
  project_id: z.string().min(1),
  client_email: z.string().min(3),
  private_key: z.string().min(1),
  private_key_id: z.string().optional(),
});
export type ServiceAccount = z.infer<typeof keySchema>;

const SCOPE = "https://www.googleapis.com/auth/bigquery";
const LIFE_S = 3600;
/** A token is renewed this long before it ends. Seconds. */
const MARGIN_S = 300;

const misconfigured = (what: string) =>
  new LakeSyncError(
    "Misconfigured",
    `BigQuery's credentials ${what}. Give the JSON key of a service account (IAM, Service Accounts, Keys, Create new key) that has the roles BigQuery Data Editor and BigQuery Job User.`,
    { key: "credentials" },
  );

/** @throws `Misconfigured`, with what is wrong and never with what was given */
export function parseServiceAccount(text: string): ServiceAccount {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw misconfigured(text.trim() === "" ? "are empty" : "are not JSON");
  }
  const parsed = keySchema.safeParse(json);
  if (!parsed.success) throw misconfigured(`have no ${String(parsed.error.issues[0]?.path[0] ?? "fields")}`);
  return parsed.data;
}

/** @returns a token that is good for some minutes at least */
export function tokenSource(account: ServiceAccount, nowMs: () => number): () => Promise<string> {
  let signed: { readonly token: string; readonly until: number } | undefined;
  return async () => {
    const now = Math.floor(nowMs() / 1000);
    if (signed && signed.until - MARGIN_S > now) return signed.token;
    const key = await importPKCS8(account.private_key, "RS256").catch(() => {
      throw misconfigured("have a private_key that is no PKCS #8 key");
    });
    const until = now + LIFE_S;
    const token = await new SignJWT({ scope: SCOPE })
      .setProtectedHeader({ alg: "RS256", typ: "JWT", ...(account.private_key_id && { kid: account.private_key_id }) })
      .setIssuer(account.client_email)
      .setSubject(account.client_email)
      .setIssuedAt(now)
      .setExpirationTime(until)
      .sign(key);
    signed = { token, until };
    return token;
  };
}
