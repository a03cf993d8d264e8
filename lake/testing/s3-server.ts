/**
 * As much of an S3 server as S3Store asks of one, over any object store. It checks that requests are signed, not the
 * signature itself: that is for the real servers of the interop tests.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { LakeAdapter, LakeObject } from "../../core/index.ts";
import { type LakeSyncError, type Result, unwrap } from "../../schemas/index.ts";

export interface S3Server {
  readonly endpoint: string;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array | string;
}

export async function startS3Server(bucket: string, store: LakeAdapter): Promise<S3Server> {
  const uploads = new Map<string, Map<number, Uint8Array>>();
  const server: Server = createServer(async (request, response) => {
    const { status, headers, body } = await answer(request, bucket, store, uploads).catch(failed);
    response.writeHead(status, headers).end(request.method === "HEAD" ? undefined : body);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    close: () => new Promise((closed) => server.close(() => closed())),
  };
}

const refusal = (status: number, code: string): Answer => ({ status, body: `<Error><Code>${code}</Code></Error>` });

function failed(error: unknown): Answer {
  const { code } = error as LakeSyncError;
  if (code === "NotFound") return refusal(404, "NoSuchKey");
  return code === "Conflict" ? refusal(412, "PreconditionFailed") : refusal(500, "InternalError");
}

const described = ({ size, etag, modifiedMs }: LakeObject): Record<string, string> => ({
  etag,
  "content-length": String(size),
  "last-modified": new Date(modifiedMs).toUTCString(),
});

async function answer(
  request: IncomingMessage,
  bucket: string,
  store: LakeAdapter,
  uploads: Map<string, Map<number, Uint8Array>>,
): Promise<Answer> {
  const { method, headers } = request;
  if (!headers.authorization?.startsWith("AWS4-HMAC-SHA256 Credential=key/")) return refusal(403, "AccessDenied");
  const { pathname, searchParams: query } = new URL(request.url ?? "/", "http://localhost");
  const [, of, ...rest] = pathname.split("/").map(decodeURIComponent);
  if (of !== bucket) return refusal(404, "NoSuchBucket");
  const key = rest.join("/");
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = new Uint8Array(Buffer.concat(chunks));
  const options = headers["if-none-match"] === "*" ? { ifAbsent: true } : {};
  const parts = uploads.get(query.get("uploadId") ?? "");
  if (method === "GET" && query.has("list-type"))
    return listing(await store.list(query.get("prefix") ?? "", query.get("continuation-token") ?? undefined));
  if (method === "POST" && query.has("uploads")) {
    const id = `upload-${uploads.size}`;
    uploads.set(id, new Map());
    return {
      status: 200,
      body: `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
    };
  }
  if (method === "PUT" && parts) {
    parts.set(Number(query.get("partNumber")), body);
    return { status: 200, headers: { etag: `"part"` } };
  }
  if (method === "POST" && parts) {
    const whole = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, part]) => part));
    const put = unwrap(await store.put(key, new Uint8Array(whole), options));
    return {
      status: 200,
      body: `<CompleteMultipartUploadResult><ETag>${put.etag}</ETag></CompleteMultipartUploadResult>`,
    };
  }
  if (method === "DELETE") {
    if (parts) uploads.delete(query.get("uploadId") ?? "");
    else unwrap(await store.delete([key]));
    return { status: 204 };
  }
  if (method === "PUT") return { status: 200, headers: { etag: unwrap(await store.put(key, body, options)).etag } };
  const info = unwrap(await store.head(key));
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
  if (!range) return { status: 200, headers: described(info), body: unwrap(await store.get(key)) };
  const offset = Number(range[1]);
  if (offset >= info.size) return refusal(416, "InvalidRange");
  const length = range[2] ? Number(range[2]) - offset + 1 : info.size - offset;
  return { status: 206, body: unwrap(await store.get(key, { offset, length })) };
}

function listing(page: Result<{ objects: readonly LakeObject[]; cursor?: string }, LakeSyncError>): Answer {
  const { objects, cursor } = unwrap(page);
  const entries = objects.map(
    ({ key, size, etag, modifiedMs }) =>
      `<Contents><Key>${encodeURIComponent(key)}</Key><LastModified>${new Date(modifiedMs).toISOString()}</LastModified><ETag>${etag.replaceAll('"', "&quot;")}</ETag><Size>${size}</Size></Contents>`,
  );
  const next = cursor === undefined ? "" : `<NextContinuationToken>${cursor}</NextContinuationToken>`;
  return { status: 200, body: `<ListBucketResult>${entries.join("")}${next}</ListBucketResult>` };
}
