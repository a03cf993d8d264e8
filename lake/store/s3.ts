/** S3 and what speaks like it (MinIO, SeaweedFS, R2 from outside), signed by aws4fetch. */
import { AwsClient } from "aws4fetch";
import type { ByteRange, LakeAdapter, LakeObject, PutOptions } from "../../core/index.ts";
import { err, isLakeSyncError, LakeSyncError, ok } from "../../schemas/index.ts";
import { conflict, notFound, type StoreResult, unavailable } from "./errors.ts";
import { evenParts, PART_BYTES } from "./parts.ts";
import { textsOf } from "./xml.ts";

/** Keys deleted at once; a Worker has six connections. */
const CONCURRENCY = 6;
/** Attempts after the first, for answers of 5xx and 429. */
const RETRIES = 3;

export interface S3StoreOptions {
  readonly bucket: string;
  /** `https://s3.eu-central-1.amazonaws.com`, `http://127.0.0.1:9000`: without the bucket. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** The bucket in the path (MinIO and most others), which is the default, or in the host's name (Amazon). */
  readonly style?: "path" | "virtual-host";
}

export class S3Store implements LakeAdapter {
  readonly location: string;
  readonly #client: AwsClient;
  readonly #root: string;

  constructor(options: S3StoreOptions) {
    const { bucket, endpoint, region, accessKeyId, secretAccessKey, sessionToken, style = "path" } = options;
    this.location = `s3://${bucket}`;
    const session = sessionToken === undefined ? {} : { sessionToken };
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, ...session, region, service: "s3", retries: RETRIES });
    const url = new URL(endpoint);
    if (style === "virtual-host") url.hostname = `${bucket}.${url.hostname}`;
    this.#root = url.href.replace(/\/$/, "") + (style === "path" ? `/${bucket}` : "");
  }

  get(key: string, range?: ByteRange): StoreResult<Uint8Array> {
    return this.#try(key, async () => {
      if (range?.length === 0) return new Uint8Array(0);
      const last = range?.length === undefined ? "" : range.offset + range.length - 1;
      const headers: Record<string, string> = range ? { range: `bytes=${range.offset}-${last}` } : {};
      const response = await this.#fetch(key, { headers });
      if (response.status === 416) return new Uint8Array(0); // begins past the end
      return new Uint8Array(await (await this.#expect(response, key)).arrayBuffer());
    });
  }

  head(key: string): StoreResult<LakeObject> {
    return this.#try(key, async () => {
      const { headers } = await this.#expect(await this.#fetch(key, { method: "HEAD" }), key);
      return objectOf(key, Number(headers.get("content-length")), headers, "last-modified");
    });
  }

  put(key: string, body: Uint8Array, options: PutOptions = {}): StoreResult<LakeObject> {
    return this.#try(key, async () => {
      const init = { method: "PUT", body: body as BodyInit, headers: putHeaders(options) };
      const { headers } = await this.#expect(await this.#fetch(key, init), key);
      return objectOf(key, body.length, headers, "date");
    });
  }

  putStream(key: string, parts: AsyncIterable<Uint8Array>, options: PutOptions = {}): StoreResult<LakeObject> {
    return this.#try(key, async () => {
      const even = evenParts(parts);
      const first = await even.next();
      if (first.done || first.value.length < PART_BYTES) {
        const put = await this.put(key, first.value ?? new Uint8Array(0), options);
        if (put.ok) return put.value;
        throw put.error;
      }
      const { ifAbsent, ...rest } = options;
      if (ifAbsent && (await this.head(key)).ok) throw conflict(key); // spares the upload; completing asks again
      const begun = await this.#fetch(key, { method: "POST", headers: putHeaders(rest) }, "?uploads=");
      const [id = ""] = textsOf(await (await this.#expect(begun, key)).text(), "UploadId");
      const upload = `uploadId=${encodeURIComponent(id)}`;
      try {
        return await this.#upload(key, upload, first.value, even, ifAbsent === true);
      } catch (error) {
        await this.#fetch(key, { method: "DELETE" }, `?${upload}`).catch(() => {});
        throw error;
      }
    });
  }

  async #upload(
    key: string,
    upload: string,
    first: Uint8Array,
    rest: AsyncIterable<Uint8Array>,
    ifAbsent: boolean,
  ): Promise<LakeObject> {
    const etags: string[] = [];
    let size = 0;
    const part = async (body: Uint8Array) => {
      const init = { method: "PUT", body: body as BodyInit };
      const response = await this.#fetch(key, init, `?partNumber=${etags.length + 1}&${upload}`);
      etags.push((await this.#expect(response, key)).headers.get("etag") ?? "");
      size += body.length;
    };
    await part(first);
    for await (const body of rest) await part(body);
    const list = etags.map((etag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${etag}</ETag></Part>`);
    const body = `<CompleteMultipartUpload>${list.join("")}</CompleteMultipartUpload>`;
    const init = { method: "POST", body, headers: putHeaders({ ifAbsent }) };
    const response = await this.#expect(await this.#fetch(key, init, `?${upload}`), key);
    const answer = await response.text();
    // An upload can fail after the status was sent.
    const [etag] = textsOf(answer, "ETag");
    if (etag === undefined) throw unavailable(key, new Error(answer.slice(0, 300)));
    return { ...objectOf(key, size, response.headers, "date"), etag };
  }

  list(prefix: string, cursor?: string): StoreResult<{ objects: LakeObject[]; cursor?: string }> {
    return this.#try(prefix, async () => {
      const query = new URLSearchParams({ "list-type": "2", "encoding-type": "url", "max-keys": "1000", prefix });
      if (cursor !== undefined) query.set("continuation-token", cursor);
      const response = await this.#expect(await this.#fetch("", {}, `?${query}`), prefix);
      const answer = await response.text();
      const objects = textsOf(answer, "Contents").map((entry): LakeObject => {
        const one = (name: string) => textsOf(entry, name)[0] ?? "";
        const key = decodeURIComponent(one("Key").replaceAll("+", " "));
        return { key, size: Number(one("Size")), etag: one("ETag"), modifiedMs: Date.parse(one("LastModified")) };
      });
      const [next] = textsOf(answer, "NextContinuationToken");
      return { objects, ...(next === undefined ? {} : { cursor: next }) };
    });
  }

  /** One by one: deleting many in one request wants an MD5, which Workers and browsers lack. */
  delete(keys: readonly string[]): StoreResult<void> {
    return this.#try(keys[0] ?? "", async () => {
      for (let at = 0; at < keys.length; at += CONCURRENCY)
        await Promise.all(
          keys.slice(at, at + CONCURRENCY).map(async (key) => {
            const response = await this.#fetch(key, { method: "DELETE" });
            if (response.status !== 404) await this.#expect(response, key);
          }),
        );
    });
  }

  #fetch(key: string, init: RequestInit, query = ""): Promise<Response> {
    const path = key.split("/").map(encodeURIComponent).join("/");
    return this.#client.fetch(`${this.#root}/${path}${query}`, init);
  }

  async #expect(response: Response, key: string): Promise<Response> {
    if (response.ok) return response;
    const { status } = response;
    const [code = `HTTP ${status}`] = textsOf(await response.text(), "Code");
    if (status === 404 && code !== "NoSuchBucket") throw notFound(key);
    if (status === 412 || status === 409) throw conflict(key);
    if (status >= 500 || status === 429) throw unavailable(key, new Error(code));
    throw new LakeSyncError(
      "DestinationRefused",
      `The object store refused ${key}: ${code}. Check the bucket, the credentials and their rights.`,
      { key, code, status },
    );
  }

  async #try<T>(key: string, body: () => Promise<T>): StoreResult<T> {
    try {
      return ok(await body());
    } catch (error) {
      return err(isLakeSyncError(error) ? error : unavailable(key, error));
    }
  }
}

const putHeaders = ({ contentType, ifAbsent }: PutOptions): Record<string, string> => ({
  ...(contentType ? { "content-type": contentType } : {}),
  ...(ifAbsent ? { "if-none-match": "*" } : {}),
});

const objectOf = (key: string, size: number, headers: Headers, when: string): LakeObject => ({
  key,
  size,
  etag: headers.get("etag") ?? "",
  modifiedMs: Date.parse(headers.get(when) ?? ""),
});
