/**
 * Stands in for `jose` in a world of honest devices: tokens are readable, and believed until they expire. Real signatures
 * are checked by threads, whose time is not ours; they have tests of their own (worker/security.do.test.ts).
 */
class JWTExpired extends Error {}
class Other extends Error {}

export const errors = {
  JWTExpired,
  JWTClaimValidationFailed: Other,
  JOSEAlgNotAllowed: Other,
  JWKSNoMatchingKey: Other,
  JWKSMultipleMatchingKeys: Other,
  JOSEError: Other,
};

export const createRemoteJWKSet = (): never => {
  throw new Error("The simulation has no network for keys.");
};

export async function jwtVerify(token: string): Promise<{ payload: Record<string, unknown> }> {
  const payload = JSON.parse(atob(token.split(".")[1] ?? "")) as Record<string, unknown>;
  if (Number(payload.exp) * 1000 <= Date.now()) throw new JWTExpired();
  return { payload };
}

/** @param exp seconds since 1970 */
export const signToken = (claims: Record<string, unknown>, exp: number): string =>
  `e30.${btoa(JSON.stringify({ ...claims, exp }))}.e30`;

/** Credentials of the S3 endpoint and of BigQuery, which nobody here asks for. */
export class SignJWT {
  constructor() {
    throw new Error("Nobody signs with a key here.");
  }
}

export const importPKCS8 = (): never => {
  throw new Error("Nobody signs with a key here.");
};

export const base64url = {
  encode: (text: string): string => Buffer.from(text).toString("base64url"),
  decode: (text: string): Uint8Array => Buffer.from(text, "base64url"),
};
