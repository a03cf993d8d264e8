/** An object store in memory: for tests, the simulation, and whoever wants a lake without a bucket. */
import type { ByteRange, Clock, LakeAdapter, LakeObject, PutOptions } from "../../core/index.ts";
import { compareCodePoints, err, isLakeSyncError, ok } from "../../schemas/index.ts";
import { conflict, notFound, type StoreResult, unavailable } from "./errors.ts";
import { joinParts } from "./parts.ts";

const PAGE = 1000;

export interface MemoryStoreOptions {
  /** `memory://lake` when left out. */
  readonly location?: string;
  readonly clock: Clock;
}

interface Stored {
  readonly bytes: Uint8Array;
  readonly info: LakeObject;
}

export class MemoryStore implements LakeAdapter {
  readonly location: string;
  readonly #clock: Clock;
  readonly #objects = new Map<string, Stored>();
  #writes = 0;

  constructor(options: MemoryStoreOptions) {
    this.location = options.location ?? "memory://lake";
    this.#clock = options.clock;
  }

  async get(key: string, range?: ByteRange): StoreResult<Uint8Array> {
    const bytes = this.#objects.get(key)?.bytes;
    if (!bytes) return err(notFound(key));
    if (!range) return ok(bytes.slice());
    return ok(bytes.slice(range.offset, range.length === undefined ? undefined : range.offset + range.length));
  }

  async head(key: string): StoreResult<LakeObject> {
    const stored = this.#objects.get(key);
    return stored ? ok(stored.info) : err(notFound(key));
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): StoreResult<LakeObject> {
    if (options.ifAbsent && this.#objects.has(key)) return err(conflict(key));
    this.#writes++;
    const info = { key, size: body.length, etag: `"${this.#writes}"`, modifiedMs: this.#clock.now() };
    this.#objects.set(key, { bytes: body.slice(), info });
    return ok(info);
  }

  async putStream(key: string, parts: AsyncIterable<Uint8Array>, options: PutOptions = {}): StoreResult<LakeObject> {
    try {
      return await this.put(key, await joinParts(parts), options);
    } catch (error) {
      return err(isLakeSyncError(error) ? error : unavailable(key, error));
    }
  }

  async list(prefix: string, cursor?: string): StoreResult<{ objects: LakeObject[]; cursor?: string }> {
    const keys = [...this.#objects.keys()]
      .filter((key) => key.startsWith(prefix) && (cursor === undefined || compareCodePoints(key, cursor) > 0))
      .sort(compareCodePoints);
    const page = keys.slice(0, PAGE);
    const objects = page.map((key) => (this.#objects.get(key) as Stored).info);
    return ok({ objects, ...(keys.length > PAGE ? { cursor: page.at(-1) as string } : {}) });
  }

  async delete(keys: readonly string[]): StoreResult<void> {
    for (const key of keys) this.#objects.delete(key);
    return ok(undefined);
  }
}
