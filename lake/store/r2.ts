/** R2 through a Worker's binding. */
import type { R2Bucket, R2Object, R2PutOptions } from "@cloudflare/workers-types";
import type { ByteRange, LakeAdapter, LakeObject, PutOptions } from "../../core/index.ts";
import { err, isLakeSyncError, ok } from "../../schemas/index.ts";
import { conflict, notFound, type StoreResult, unavailable } from "./errors.ts";
import { evenParts, PART_BYTES } from "./parts.ts";

const PAGE = 1000;

export interface R2StoreOptions {
  /** `s3://<bucket>`: how engines outside reach the same bucket, through R2's S3 endpoint or the Worker's. */
  readonly location: string;
}

export class R2Store implements LakeAdapter {
  readonly location: string;
  readonly #bucket: R2Bucket;

  constructor(bucket: R2Bucket, options: R2StoreOptions) {
    this.#bucket = bucket;
    this.location = options.location.replace(/\/$/, "");
  }

  async get(key: string, range?: ByteRange): StoreResult<Uint8Array> {
    return this.#try(key, async () => {
      const object = await this.#bucket.get(key, range ? { range: { ...range } } : {});
      return object ? ok(new Uint8Array(await object.arrayBuffer())) : err(notFound(key));
    });
  }

  async head(key: string): StoreResult<LakeObject> {
    return this.#try(key, async () => {
      const object = await this.#bucket.head(key);
      return object ? ok(infoOf(object)) : err(notFound(key));
    });
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): StoreResult<LakeObject> {
    return this.#try(key, async () => {
      const object = await this.#bucket.put(key, body, putOptions(options));
      return object ? ok(infoOf(object)) : err(conflict(key));
    });
  }

  /** In parts of 8 MiB; a small object in one put. R2's multipart upload knows no condition, so `ifAbsent` asks first. */
  async putStream(key: string, parts: AsyncIterable<Uint8Array>, options: PutOptions = {}): StoreResult<LakeObject> {
    return this.#try(key, async () => {
      const even = evenParts(parts);
      const first = await even.next();
      if (first.done || first.value.length < PART_BYTES)
        return this.put(key, first.value ?? new Uint8Array(0), options);
      if (options.ifAbsent && (await this.#bucket.head(key))) return err(conflict(key));
      const upload = await this.#bucket.createMultipartUpload(key, putOptions({ ...options, ifAbsent: false }));
      try {
        const done = [await upload.uploadPart(1, first.value)];
        for await (const part of even) done.push(await upload.uploadPart(done.length + 1, part));
        return ok(infoOf(await upload.complete(done)));
      } catch (error) {
        await upload.abort().catch(() => {}); // R2 drops unfinished uploads by itself after a week
        throw error;
      }
    });
  }

  async list(prefix: string, cursor?: string): StoreResult<{ objects: LakeObject[]; cursor?: string }> {
    return this.#try(prefix, async () => {
      const page = await this.#bucket.list({ prefix, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) });
      return ok({ objects: page.objects.map(infoOf), ...(page.truncated ? { cursor: page.cursor } : {}) });
    });
  }

  async delete(keys: readonly string[]): StoreResult<void> {
    return this.#try(keys[0] ?? "", async () => {
      if (keys.length > 0) await this.#bucket.delete([...keys]);
      return ok(undefined);
    });
  }

  async #try<T>(key: string, body: () => StoreResult<T>): StoreResult<T> {
    try {
      return await body();
    } catch (error) {
      return err(isLakeSyncError(error) ? error : unavailable(key, error));
    }
  }
}

const infoOf = (object: R2Object): LakeObject => ({
  key: object.key,
  size: object.size,
  etag: object.httpEtag,
  modifiedMs: object.uploaded.getTime(),
});

const putOptions = ({ contentType, ifAbsent }: PutOptions): R2PutOptions => ({
  ...(contentType ? { httpMetadata: { contentType } } : {}),
  ...(ifAbsent ? { onlyIf: { etagDoesNotMatch: "*" } } : {}),
});
