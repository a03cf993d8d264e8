/** GetObject and HeadObject over an R2 binding. */
import { type Part, placed } from "../range.ts";
import { S3Error } from "./errors.ts";

const CONDITIONS = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];

export async function objectAnswer(bucket: R2Bucket, key: string, request: Request): Promise<Response> {
  const onlyIf = new Headers(CONDITIONS.flatMap((name) => nonNull(name, request.headers.get(name))));
  const headOnly = request.method === "HEAD";
  if (headOnly && [...onlyIf].length === 0) {
    const info = await bucket.head(key);
    if (info === null) throw missing();
    return answer(info, null, undefined);
  }
  const range = headOnly ? undefined : rangeOf(request.headers.get("range"));
  const object = await bucket.get(key, { onlyIf, ...(range && { range }) }).catch(async (error: unknown) => {
    const info = UNSATISFIABLE.test(String(error)) ? await bucket.head(key) : undefined;
    throw info ? invalidRange(info.size) : error;
  });
  if (object === null) throw missing();
  if (!("body" in object)) {
    const known = ["if-none-match", "if-modified-since"].some((name) => onlyIf.has(name));
    if (known) return new Response(null, { status: 304, headers: headersOf(object) });
    throw new S3Error("PreconditionFailed", "The object is not as the request's conditions want it.");
  }
  if (!headOnly) return answer(object, object.body, range && partOf(range, object.size));
  await object.body.cancel();
  return answer(object, null, undefined);
}

/** R2's words for a range that begins past the end. */
const UNSATISFIABLE = /\b10039\b|range/i;

function answer(object: R2Object, body: ReadableStream | null, part: Part | undefined): Response {
  const headers = headersOf(object);
  headers.set("content-length", String(part?.length ?? object.size));
  if (!part) return new Response(body, { headers });
  headers.set("content-range", `bytes ${part.offset}-${part.offset + part.length - 1}/${object.size}`);
  return new Response(body, { status: 206, headers });
}

const nonNull = (name: string, value: string | null): [string, string][] => (value === null ? [] : [[name, value]]);
const missing = () => new S3Error("NoSuchKey", "There is no such object.");
const invalidRange = (size: number) =>
  new S3Error("InvalidRange", "The range begins past the end.", { "content-range": `bytes */${size}` });

/** One range (RFC 9110, section 14.1.2), as R2 has it; undefined where there is none, or one that may be ignored. */
function rangeOf(header: string | null): R2Range | undefined {
  const [, first = "", last = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (first === "") return last === "" ? undefined : { suffix: Number(last) };
  if (last === "") return { offset: Number(first) };
  const length = Number(last) - Number(first) + 1;
  return length > 0 ? { offset: Number(first), length } : undefined;
}

function partOf(range: R2Range, size: number): Part {
  const part = placed(range, size);
  if (!part) throw invalidRange(size);
  return part;
}

const headersOf = (object: R2Object): Headers =>
  new Headers({
    etag: object.httpEtag,
    "last-modified": object.uploaded.toUTCString(),
    "accept-ranges": "bytes",
    "content-type": object.httpMetadata?.contentType ?? "application/octet-stream",
    "cache-control": "private, no-transform",
  });
