/** Bodies in and out: bounded, gzipped or not, protobuf or JSON by the headers (S4). */
import { type Message, toJson } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { z } from "zod";
import {
  BODY_BYTES_MAX,
  decodeMessage,
  encodeBinary,
  JSON_TYPE,
  LakeSyncError,
  PROTOBUF,
  unwrap,
} from "../../schemas/index.ts";
import type { AppContext } from "../context.ts";

/** Answers shorter than this are not worth gzipping. Bytes. */
const GZIP_FROM = 1024;

const tooLarge = () =>
  new LakeSyncError("TooLarge", `The body is larger than ${BODY_BYTES_MAX} bytes; send less at a time.`, {
    limit: BODY_BYTES_MAX,
  });

/** The whole body, after decompression. */
async function readBody(c: AppContext): Promise<Uint8Array> {
  if (Number(c.req.header("content-length") ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  const encoding = c.req.header("content-encoding") ?? "identity";
  if (encoding !== "identity" && encoding !== "gzip")
    throw new LakeSyncError(
      "UnsupportedMediaType",
      `Content-Encoding ${encoding.slice(0, 100)} is not taken; use gzip or none.`,
    );
  const raw = c.req.raw.body;
  if (!raw) return new Uint8Array();
  const stream = encoding === "gzip" ? raw.pipeThrough(new DecompressionStream("gzip")) : raw;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stream) {
      bytes += chunk.byteLength;
      if (bytes > BODY_BYTES_MAX) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof LakeSyncError) throw cause;
    throw new LakeSyncError(
      "BadRequest",
      encoding === "gzip"
        ? "The body is not sound gzip; compress it again, or send it plain."
        : "The body broke off; send it again.",
      {},
      { cause },
    );
  }
  if (chunks.length === 1) return chunks[0] as Uint8Array;
  const body = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}

const mediaType = (header: string | undefined): string => header?.split(";")[0]?.trim().toLowerCase() ?? "";

function asText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    throw new LakeSyncError("BadRequest", "The body is not UTF-8.");
  }
}

/** A message from the body, by its Content-Type. */
export async function readMessage<T extends Message>(c: AppContext, schema: GenMessage<T>): Promise<T> {
  const type = mediaType(c.req.header("content-type"));
  const bytes = await readBody(c);
  if (type === PROTOBUF) return unwrap(decodeMessage(schema, bytes));
  if (type === JSON_TYPE || type === "") return unwrap(decodeMessage(schema, asText(bytes)));
  throw new LakeSyncError(
    "UnsupportedMediaType",
    `Content-Type ${type.slice(0, 100)} is not taken; send \`Content-Type: ${JSON_TYPE}\` or ${PROTOBUF}.`,
  );
}

/** The first few things that are wrong, each with where it is. */
function problems(error: z.ZodError): string {
  const shown = error.issues.slice(0, 3).map(({ path, message }) => {
    const where = path.length > 0 ? ` at ${path.map(String).join(".").slice(0, 200)}` : "";
    return `${message.slice(0, 300).replace(/\.$/, "")}${where}.`;
  });
  const more = error.issues.length - shown.length;
  return `${shown.join(" ")}${more > 0 ? ` And ${more} more.` : ""}`;
}

/** JSON of an admin route, checked; what is wrong is named by its path. */
export async function readJson<T extends z.ZodType>(c: AppContext, schema: T): Promise<z.infer<T>> {
  const text = asText(await readBody(c));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new LakeSyncError("BadRequest", "The body is not JSON; /openapi.json has its shape.");
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new LakeSyncError(
    "BadRequest",
    `The body does not fit: ${problems(parsed.error)} See /openapi.json for its shape.`,
  );
}

/** Whether the caller wants protobuf; `NotAcceptable` when it wants neither that nor JSON. */
export function wantsProtobuf(c: AppContext): boolean {
  const accept = c.req.header("accept") ?? "*/*";
  if (accept.includes(PROTOBUF)) return true;
  if (/\*\/\*|application\/(json|\*)/.test(accept)) return false;
  throw new LakeSyncError("NotAcceptable", `Answers come as ${JSON_TYPE} or ${PROTOBUF}.`);
}

/** @param shown fields that people look for in JSON, even where protobuf's mapping leaves them out as empty */
export function sendMessage<T extends Message>(
  c: AppContext,
  schema: GenMessage<T>,
  message: T,
  shown: Readonly<Record<string, unknown>> = {},
): Response {
  const protobuf = wantsProtobuf(c);
  const json = () => JSON.stringify({ ...shown, ...(toJson(schema, message) as object) });
  const body = protobuf ? encodeBinary(schema, message) : new TextEncoder().encode(json());
  return sendBytes(c, body, protobuf ? PROTOBUF : JSON_TYPE);
}

function sendBytes(c: AppContext, body: Uint8Array, type: string): Response {
  const headers = new Headers({ "content-type": type, "cache-control": "no-store", vary: "accept, accept-encoding" });
  if (body.length < GZIP_FROM || !/\bgzip\b(?!\s*;\s*q=0(\.0*)?\b)/.test(c.req.header("accept-encoding") ?? ""))
    return new Response(body, { headers });
  headers.set("content-encoding", "gzip");
  const gzipped = new Blob([body]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(gzipped, { headers, encodeBody: "manual" });
}
