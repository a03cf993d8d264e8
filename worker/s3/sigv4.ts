/**
 * Signature Version 4, the verifier's side (Amazon S3 API reference, "Authenticating Requests", header and query forms).
 * The canonical request is made from the parsed address, so that what was signed is what is served.
 *
 *   Authorization: AWS4-HMAC-SHA256 Credential=<id>/<day>/<region>/s3/aws4_request, SignedHeaders=host;..., Signature=<hex>
 *   ?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=...&X-Amz-Date=...&X-Amz-Expires=...&X-Amz-SignedHeaders=...&X-Amz-Signature=...
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { S3Error } from "./errors.ts";

const ALGORITHM = "AWS4-HMAC-SHA256";
const UNSIGNED = "UNSIGNED-PAYLOAD";
/** How far a signer's clock may be off, as in S3. Milliseconds. */
const SKEW_MS = 15 * 60_000;
/** Longest life of a presigned address, as in S3. Seconds. */
const EXPIRES_MAX = 7 * 24 * 60 * 60;

export interface SignedRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
}

/** What a request claims, before anything is proven. */
export interface Claim {
  readonly accessKeyId: string;
  /** Empty where there is none. */
  readonly sessionToken: string;
  readonly region: string;
  /** `20261122T182651Z`. */
  readonly date: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  /** Seconds that a presigned address lives; undefined for a signature in the header. */
  readonly expires?: number;
}

/** @throws S3Error where nothing is claimed, or not in the right form */
export function claimOf({ url, headers }: SignedRequest): Claim {
  const header = headers.get("authorization");
  if (header !== null) return headerClaim(header, headers);
  if (url.searchParams.has("X-Amz-Signature")) return queryClaim(url.searchParams);
  throw new S3Error("AccessDenied", "Sign the request with credentials from the catalogue (docs/catalogue.md).");
}

function headerClaim(header: string, headers: Headers): Claim {
  const malformed = () =>
    new S3Error("AuthorizationHeaderMalformed", "The Authorization header is not AWS4-HMAC-SHA256's.");
  const form = /^AWS4-HMAC-SHA256 +Credential=([^, ]+), *SignedHeaders=([^, ]+), *Signature=([^, ]+)$/.exec(header);
  if (!form) throw malformed();
  const [, credential = "", signed = "", signature = ""] = form;
  const date = headers.get("x-amz-date") ?? "";
  const sessionToken = headers.get("x-amz-security-token") ?? "";
  return { ...partsOf(credential, date, signed, malformed), sessionToken, signature };
}

function queryClaim(query: URLSearchParams): Claim {
  const malformed = () =>
    new S3Error("AuthorizationQueryParametersError", "The X-Amz- parameters do not fit together.");
  const one = (name: string): string => {
    const [value = "", ...more] = query.getAll(name);
    if (more.length > 0) throw malformed();
    return value;
  };
  const expires = one("X-Amz-Expires");
  if (one("X-Amz-Algorithm") !== ALGORITHM || !/^\d{1,6}$/.test(expires)) throw malformed();
  if (Number(expires) < 1 || Number(expires) > EXPIRES_MAX) throw malformed();
  const parts = partsOf(one("X-Amz-Credential"), one("X-Amz-Date"), one("X-Amz-SignedHeaders"), malformed);
  const signature = one("X-Amz-Signature");
  return { ...parts, sessionToken: one("X-Amz-Security-Token"), signature, expires: Number(expires) };
}

function partsOf(credential: string, date: string, signed: string, malformed: () => S3Error) {
  const [accessKeyId = "", day = "", region = "", service = "", end = "", ...more] = credential.split("/");
  const sound = /^\d{8}T\d{6}Z$/.test(date) && date.startsWith(day) && day.length === 8;
  if (!sound || service !== "s3" || end !== "aws4_request" || more.length > 0) throw malformed();
  const signedHeaders = signed.split(";");
  if (!signedHeaders.includes("host") || signedHeaders.some((name) => !/^[a-z0-9-]+$/.test(name))) throw malformed();
  return { accessKeyId, region, date, signedHeaders };
}

/**
 * That the claim's time is now, and its signature made with this secret.
 * @throws S3Error
 */
export function verifyClaim(request: SignedRequest, claim: Claim, secretAccessKey: string, nowMs: number): void {
  const wanted = signatureOf(request, claim, secretAccessKey);
  const given = Buffer.from(claim.signature);
  if (given.length !== wanted.length || !timingSafeEqual(given, Buffer.from(wanted)))
    throw new S3Error(
      "SignatureDoesNotMatch",
      "The signature is not the one that these credentials give this request.",
    );
  const madeMs = Date.parse(claim.date.replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5"));
  const expiresMs = madeMs + (claim.expires ?? 0) * 1000;
  if (claim.expires !== undefined && expiresMs < nowMs) throw new S3Error("AccessDenied", "The address has expired.");
  const early = madeMs > nowMs + SKEW_MS;
  if (!(madeMs >= 0) || early || (claim.expires === undefined && madeMs < nowMs - SKEW_MS))
    throw new S3Error("RequestTimeTooSkewed", "The request's time is more than 15 minutes off; set the clock.");
}

function signatureOf({ method, url, headers }: SignedRequest, claim: Claim, secretAccessKey: string): string {
  const day = claim.date.slice(0, 8);
  const scope = `${day}/${claim.region}/s3/aws4_request`;
  const presigned = claim.expires !== undefined;
  const value = (name: string) => (headers.get(name) ?? (name === "host" ? url.host : "")).trim().replace(/ +/g, " ");
  const canonical = [
    method,
    pathOf(url),
    queryOf(url.searchParams),
    ...claim.signedHeaders.map((name) => `${name}:${value(name)}`),
    "",
    claim.signedHeaders.join(";"),
    (presigned ? undefined : headers.get("x-amz-content-sha256")) ?? UNSIGNED,
  ].join("\n");
  const digest = createHash("sha256").update(canonical).digest("hex");
  const hmac = (key: string | Uint8Array, text: string) => createHmac("sha256", key).update(text).digest();
  const key = [day, claim.region, "s3", "aws4_request"].reduce<string | Uint8Array>(hmac, `AWS4${secretAccessKey}`);
  return Buffer.from(hmac(key, [ALGORITHM, claim.date, scope, digest].join("\n"))).toString("hex");
}

/** RFC 3986: everything but letters, digits and `-._~`. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

const pathOf = (url: URL): string => decodedPath(url).split("/").map(encode).join("/");

/** @throws S3Error where the path is no UTF-8 */
export function decodedPath({ pathname }: URL): string {
  try {
    return decodeURIComponent(pathname);
  } catch {
    throw new S3Error("InvalidURI", "The address is not UTF-8.");
  }
}

const queryOf = (query: URLSearchParams): string =>
  Array.from(query)
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a, x], [b, y]) => (a === b ? compare(x, y) : compare(a, b)))
    .map((pair) => pair.join("="))
    .join("&");

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
