/**
 * Tokens (S1, S2): a bearer JWT names one gateway (`gw`), a user (`sub`) and a role, and expires. Algorithms come from
 * configuration, never from the token.
 */
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from "jose";
import {
  type Claims,
  err,
  type GatewayId,
  isGatewayId,
  LakeSyncError,
  ok,
  type Result,
  TOKEN_CHARS_MAX,
} from "../schemas/index.ts";
import type { Env } from "./env.ts";

/** A verified token. */
export interface Grant {
  readonly gatewayId: GatewayId;
  readonly claims: Claims;
  /** Seconds since 1970. */
  readonly exp: number;
}

type AuthEnv = Pick<Env, "JWT_SECRET" | "JWKS_URL" | "JWT_ALGORITHMS" | "JWT_ISSUER" | "JWT_AUDIENCE">;

const SYMMETRIC = ["HS256"];
const ASYMMETRIC = ["RS256", "ES256", "EdDSA"];
/** Secrets shorter than the hash are guessable (RFC 7518, section 3.2). Bytes. */
const SECRET_BYTES_MIN = 32;

/** What jose says when a JWKS could not be fetched or read: no fault of the token. */
const FETCH_FAILURES = new Set(["ERR_JOSE_GENERIC", "ERR_JWKS_TIMEOUT", "ERR_JWKS_INVALID"]);

const keySets = new Map<string, ReturnType<typeof createRemoteJWKSet>>();

function keySet(url: string): ReturnType<typeof createRemoteJWKSet> {
  if (!URL.canParse(url))
    throw new LakeSyncError("Misconfigured", "The gateway's JWKS_URL is not an address; set it to an https address.");
  const known = keySets.get(url) ?? createRemoteJWKSet(new URL(url));
  keySets.set(url, known);
  return known;
}

const refused = (message: string): Result<never, LakeSyncError> => err(new LakeSyncError("Unauthenticated", message));

/** A key that is taken out of the JWKS stops working within this time. */
const VERIFIED_MS = 30_000;
const VERIFIED_MAX = 1000;

type Verified = Map<string, { readonly grant: Grant; readonly untilMs: number }>;
/** Tokens that were verified a moment ago, by configuration: a device sends the same one with each request. */
const verified = new WeakMap<AuthEnv, Verified>();

function remember(env: AuthEnv, token: string, grant: Grant): void {
  const tokens: Verified = verified.get(env) ?? new Map();
  if (tokens.size >= VERIFIED_MAX) tokens.clear();
  tokens.set(token, { grant, untilMs: Math.min(Date.now() + VERIFIED_MS, grant.exp * 1000) });
  verified.set(env, tokens);
}

export async function verifyToken(env: AuthEnv, token: string): Promise<Result<Grant, LakeSyncError>> {
  const known = verified.get(env)?.get(token);
  if (known && known.untilMs > Date.now()) return ok(known.grant);
  if (token.length > TOKEN_CHARS_MAX) return refused(`The token is longer than ${TOKEN_CHARS_MAX} characters.`);
  try {
    const payload = await verify(env, token);
    const grant = grantOf(payload);
    if (grant.ok) remember(env, token, grant.value);
    return grant;
  } catch (cause) {
    if (cause instanceof LakeSyncError) return err(cause);
    if (cause instanceof errors.JWTExpired) return refused("The token has expired; get a new one.");
    if (cause instanceof errors.JWTClaimValidationFailed)
      return refused(`The token's claim ${JSON.stringify(cause.claim)} is missing or not what this gateway expects.`);
    if (cause instanceof errors.JOSEAlgNotAllowed)
      return refused("The token is signed with an algorithm that this gateway does not take.");
    if (cause instanceof errors.JWKSNoMatchingKey)
      return refused("None of the gateway's keys fits the token; was it signed by another issuer?");
    if (cause instanceof errors.JWKSMultipleMatchingKeys)
      return refused('Several of the gateway\'s keys fit the token; sign it with a "kid" in its header.');
    if (cause instanceof errors.JOSEError && !FETCH_FAILURES.has(cause.code))
      return refused("The token is not valid: its signature or form is wrong.");
    return err(
      new LakeSyncError(
        "Unavailable",
        "The keys that tokens are checked with could not be fetched; try again in a moment.",
        {},
        { cause },
      ),
    );
  }
}

async function verify(env: AuthEnv, token: string): Promise<JWTPayload> {
  const configured = env.JWT_ALGORITHMS?.split(",").map((a) => a.trim());
  const options: JWTVerifyOptions = {
    requiredClaims: ["exp", "sub", "gw"],
    ...(env.JWT_ISSUER && { issuer: env.JWT_ISSUER }),
    ...(env.JWT_AUDIENCE && { audience: env.JWT_AUDIENCE }),
  };
  // A key of one kind is never offered to an algorithm of the other: a public key must not pass for a shared secret.
  if (env.JWKS_URL) {
    const algorithms = allowed(configured, ASYMMETRIC);
    return (await jwtVerify(token, keySet(env.JWKS_URL), { ...options, algorithms })).payload;
  }
  const secret = new TextEncoder().encode(env.JWT_SECRET ?? "");
  if (secret.length < SECRET_BYTES_MIN)
    throw new LakeSyncError(
      "Misconfigured",
      `The gateway has no usable JWT_SECRET (at least ${SECRET_BYTES_MIN} bytes) and no JWKS_URL; set one of them.`,
    );
  const algorithms = allowed(configured, SYMMETRIC);
  return (await jwtVerify(token, secret, { ...options, algorithms })).payload;
}

function allowed(configured: readonly string[] | undefined, possible: readonly string[]): string[] {
  const algorithms = (configured ?? possible).filter((a) => possible.includes(a));
  if (algorithms.length > 0) return algorithms;
  throw new LakeSyncError(
    "Misconfigured",
    `The gateway's JWT_ALGORITHMS names none of ${possible.join(", ")}, the ones that go with its kind of key.`,
  );
}

function grantOf(payload: JWTPayload): Result<Grant, LakeSyncError> {
  const { gw, sub, exp, role = "client" } = payload;
  if (typeof gw !== "string" || !isGatewayId(gw)) return refused('The token\'s claim "gw" is not a gateway id.');
  if (typeof sub !== "string" || sub === "") return refused('The token\'s claim "sub" is not a user.');
  if (role !== "client" && role !== "admin")
    return refused('The token\'s claim "role" is neither "client" nor "admin".');
  return ok({ gatewayId: gw, claims: { ...payload, sub, role }, exp: exp as number });
}

/** A token opens one gateway only (S1). */
export function forGateway(grant: Grant, gatewayId: string): Result<Grant, LakeSyncError> {
  if (grant.gatewayId === gatewayId) return ok(grant);
  return err(new LakeSyncError("Forbidden", "The token is for another gateway than the one in the address."));
}
