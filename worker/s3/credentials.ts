/**
 * Short-lived credentials of the S3 endpoint: they open one gateway's prefix of the bucket, for reading, until they expire.
 * Nothing is stored: the session token is a JWT signed with a key that follows from the gateway's secret, and the secret
 * access key follows from the session token. Neither key opens anything else: a session token is no gateway token, a
 * gateway token no session token.
 *
 *   key             HMAC(secret, "lakesync s3")
 *   session token   JWT by key: { gw, exp, aud: "lakesync-s3" }
 *   access key id   "LS" and 18 hex digits of SHA-256(session token)
 *   secret          HMAC(key, "secret " + session token)
 */
import { createHash, createHmac } from "node:crypto";
import { errors, jwtVerify, SignJWT } from "jose";
import { isGatewayId, TOKEN_CHARS_MAX } from "../../schemas/index.ts";
import { S3Error } from "./errors.ts";

/** How long vended credentials last at most. Engines plan a query, read its files, and ask again for the next. Seconds. */
export const CREDENTIALS_SECONDS = 60 * 60;
const AUDIENCE = "lakesync-s3";
const ALGORITHM = "HS256";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  /** Seconds since 1970. */
  readonly expires: number;
}

/** What a request that is signed with them may do: read below `<gatewayId>/`. */
export interface S3Grant {
  readonly gatewayId: string;
  readonly secretAccessKey: string;
}

const keyOf = (secret: string): Uint8Array => createHmac("sha256", secret).update("lakesync s3").digest();
const idOf = (token: string): string =>
  `LS${createHash("sha256").update(token).digest("hex").slice(0, 18).toUpperCase()}`;
const secretOf = (key: Uint8Array, token: string): string =>
  createHmac("sha256", key).update(`secret ${token}`).digest("base64url");

/**
 * @param gatewayId from a verified token (S1)
 * @param expires seconds since 1970
 */
export async function vendCredentials(secret: string, gatewayId: string, expires: number): Promise<S3Credentials> {
  const key = keyOf(secret);
  const sessionToken = await new SignJWT({ gw: gatewayId })
    .setProtectedHeader({ alg: ALGORITHM })
    .setAudience(AUDIENCE)
    .setExpirationTime(expires)
    .sign(key);
  return { accessKeyId: idOf(sessionToken), secretAccessKey: secretOf(key, sessionToken), sessionToken, expires };
}

/**
 * Whose credentials these are; the caller has proven nothing until its signature was checked with the secret.
 * @throws S3Error
 */
export async function openCredentials(secret: string, accessKeyId: string, sessionToken: string): Promise<S3Grant> {
  const invalid = () =>
    new S3Error("InvalidToken", "The session token is not one of this gateway's; load the table again.");
  if (sessionToken.length > TOKEN_CHARS_MAX || idOf(sessionToken) !== accessKeyId) throw invalid();
  const key = keyOf(secret);
  try {
    const { payload } = await jwtVerify(sessionToken, key, {
      algorithms: [ALGORITHM],
      audience: AUDIENCE,
      requiredClaims: ["exp", "gw"],
    });
    if (typeof payload.gw !== "string" || !isGatewayId(payload.gw)) throw invalid();
    return { gatewayId: payload.gw, secretAccessKey: secretOf(key, sessionToken) };
  } catch (error) {
    if (error instanceof errors.JWTExpired)
      throw new S3Error("ExpiredToken", "The credentials have expired; load the table again for new ones.");
    throw error instanceof errors.JOSEError ? invalid() : error;
  }
}
