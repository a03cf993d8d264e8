/**
 * The lake's bucket as S3 has it, for reading, mounted at /s3: what engines read tables by (docs/catalogue.md).
 *
 *   GET  /s3/{bucket}/{key}              GetObject, with Range and conditions
 *   HEAD /s3/{bucket}/{key}              HeadObject
 *   GET  /s3/{bucket}?list-type=2        ListObjectsV2, below a prefix
 *   HEAD /s3/{bucket}                    HeadBucket
 *
 * Requests are signed with credentials that the catalogue vends (worker/s3/credentials.ts). They open the keys below one
 * gateway's prefix, and nothing else of the bucket (S1).
 */
import { type Context, Hono } from "hono";
import type { AppEnv } from "../context.ts";
import { log } from "../middleware/log.ts";
import { credentialsSecret, lakeBucketName } from "../s3/config.ts";
import { openCredentials } from "../s3/credentials.ts";
import { S3Error } from "../s3/errors.ts";
import { objectAnswer } from "../s3/object.ts";
import { claimOf, decodedPath, verifyClaim } from "../s3/sigv4.ts";
import { errorDocument, listingDocument } from "../s3/xml.ts";

const KEYS_MAX = 1000;
const READS = ["GET", "HEAD"];

type S3Context = Context<AppEnv>;

export const s3Routes = new Hono<AppEnv>();

s3Routes.onError((error, c) => {
  const { pathname } = new URL(c.req.url);
  const requestId = c.get("requestId") ?? "";
  if (!(error instanceof S3Error)) log("error", { requestId, path: pathname, error: error.stack ?? String(error) });
  const shown =
    error instanceof S3Error ? error : new S3Error("InternalError", "Something broke here; try again later.");
  const answer = errorDocument(shown, pathname, requestId);
  return c.req.method === "HEAD" ? new Response(null, answer) : answer;
});

s3Routes.all("*", async (c) => {
  const url = new URL(c.req.url);
  const gatewayId = await signerOf(c, url);
  const { bucket, key } = addressOf(url);
  if (!READS.includes(c.req.method))
    throw new S3Error(
      "AccessDenied",
      "This endpoint is for reading; write through LakeSync, or with keys of the bucket.",
    );
  if (bucket !== lakeBucketName(c.env)) throw new S3Error("NoSuchBucket", "There is no such bucket here.");
  if (key !== "") return objectAnswer(c.env.LAKE, requireOwn(key, gatewayId), c.req.raw);
  return c.req.method === "HEAD" ? new Response(null, { status: 200 }) : list(c, url, bucket, gatewayId);
});

/** Whose credentials signed the request. */
async function signerOf(c: S3Context, url: URL): Promise<string> {
  const secret = credentialsSecret(c.env);
  if (!secret)
    throw new S3Error("AccessDenied", "This gateway vends no credentials: it has no LAKE_CREDENTIALS_SECRET.");
  const request = { method: c.req.method, url, headers: c.req.raw.headers };
  const claim = claimOf(request);
  const { gatewayId, secretAccessKey } = await openCredentials(secret, claim.accessKeyId, claim.sessionToken);
  verifyClaim(request, claim, secretAccessKey, Date.now());
  return gatewayId;
}

/** Bucket and key of `/s3/<bucket>/<key>`. Keys that a path of a file system would read otherwise are refused (S3). */
function addressOf(url: URL): { bucket: string; key: string } {
  const [, , bucket = "", ...segments] = decodedPath(url).split("/");
  const key = segments.join("/");
  const strange = segments.slice(0, -1).includes("") || segments.some((each) => each === "." || each === "..");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (key !== "" && (strange || key.endsWith("/") || /[\\\u0000-\u001f\u007f]/.test(key)))
    throw new S3Error("InvalidURI", "The key is not one that this lake writes.");
  return { bucket, key };
}

function requireOwn(key: string, gatewayId: string): string {
  if (key.startsWith(`${gatewayId}/`)) return key;
  throw new S3Error("AccessDenied", "The credentials are for another gateway's files.");
}

async function list(c: S3Context, url: URL, bucket: string, gatewayId: string): Promise<Response> {
  const query = url.searchParams;
  if (query.get("list-type") !== "2")
    throw new S3Error("NotImplemented", "Of a bucket, only ListObjectsV2 is offered.");
  const prefix = requireOwn(query.get("prefix") ?? "", gatewayId);
  const asked = query.get("max-keys") ?? String(KEYS_MAX);
  const encoding = query.get("encoding-type") ?? "";
  if (!/^\d{1,9}$/.test(asked) || !["", "url"].includes(encoding))
    throw new S3Error("InvalidArgument", "max-keys is a number, encoding-type is url.");
  const maxKeys = Math.min(Number(asked), KEYS_MAX);
  const delimiter = query.get("delimiter") ?? "";
  const [cursor, startAfter] = [query.get("continuation-token"), query.get("start-after")];
  const page = await c.env.LAKE.list({
    prefix,
    limit: Math.max(maxKeys, 1),
    ...(delimiter && { delimiter }),
    ...(cursor ? { cursor } : startAfter && { startAfter }),
  });
  const none: R2Objects = { objects: [], delimitedPrefixes: [], truncated: false };
  return listingDocument({ bucket, prefix, delimiter, maxKeys, encoding, page: maxKeys > 0 ? page : none });
}
