/** An object store: R2 through its binding, S3 and MinIO over HTTP, a folder, memory. */
import type { LakeSyncError, Result } from "../../schemas/index.ts";

export interface LakeObject {
  /** Full key, without bucket. */
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Opaque; changes whenever the content does. */
  readonly etag: string;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
}

export interface PutOptions {
  readonly contentType?: string;
  /** Write only if nothing has this key yet (`If-None-Match: *`); otherwise `Conflict`. */
  readonly ifAbsent?: boolean;
}

export interface ByteRange {
  /** First byte. */
  readonly offset: number;
  /** How many; to the end when left out. */
  readonly length?: number;
}

/**
 * All methods answer `Result`: `NotFound` for a key that is not there, `Conflict` for a failed condition,
 * `DestinationUnavailable` for what may pass, `DestinationRefused` for what will not (credentials, no such bucket).
 */
export interface LakeAdapter {
  /** How other engines name this store: the prefix of absolute locations, without trailing slash (`s3://bucket`, `file:///dir`). */
  readonly location: string;
  get(key: string, range?: ByteRange): Promise<Result<Uint8Array, LakeSyncError>>;
  head(key: string): Promise<Result<LakeObject, LakeSyncError>>;
  put(key: string, body: Uint8Array, options?: PutOptions): Promise<Result<LakeObject, LakeSyncError>>;
  /** Writes an object of unknown size without holding it in memory; parts of at least 5 MiB but for the last. Nothing is visible before it resolves. */
  putStream(
    key: string,
    parts: AsyncIterable<Uint8Array>,
    options?: PutOptions,
  ): Promise<Result<LakeObject, LakeSyncError>>;
  /** Keys below a prefix in code-point order, page by page. */
  list(
    prefix: string,
    cursor?: string,
  ): Promise<Result<{ readonly objects: readonly LakeObject[]; readonly cursor?: string }, LakeSyncError>>;
  /** Deletes up to 1,000 keys; keys that are not there are no error. */
  delete(keys: readonly string[]): Promise<Result<void, LakeSyncError>>;
}
