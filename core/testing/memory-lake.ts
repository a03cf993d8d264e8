/** A `LakeAdapter` in memory: what a catalogue or a lake is tested on where no object store is meant. */
import { err, LakeSyncError, ok } from "../../schemas/index.ts";
import type { ByteRange, LakeAdapter, LakeObject, PutOptions } from "../ports/index.ts";

const notFound = (key: string) => err(new LakeSyncError("NotFound", `There is no object ${key}.`));

export class MemoryLake implements LakeAdapter {
  readonly location = "s3://lake";
  readonly #objects = new Map<string, { readonly object: LakeObject; readonly body: Uint8Array }>();
  #version = 0;

  /** Keys in code-point order. */
  keys(): string[] {
    return [...this.#objects.keys()].sort();
  }

  async get(key: string, range?: ByteRange) {
    const found = this.#objects.get(key);
    if (found === undefined) return notFound(key);
    if (range === undefined) return ok(found.body.slice());
    return ok(found.body.slice(range.offset, range.length === undefined ? undefined : range.offset + range.length));
  }

  async head(key: string) {
    const found = this.#objects.get(key);
    return found === undefined ? notFound(key) : ok(found.object);
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}) {
    if (options.ifAbsent && this.#objects.has(key)) {
      return err(new LakeSyncError("Conflict", `There is an object ${key} already.`));
    }
    const object = { key, size: body.length, etag: `v${++this.#version}`, modifiedMs: 0 };
    this.#objects.set(key, { object, body: body.slice() });
    return ok(object);
  }

  async putStream(key: string, parts: AsyncIterable<Uint8Array>, options?: PutOptions) {
    const bytes: number[] = [];
    for await (const part of parts) for (const byte of part) bytes.push(byte);
    return this.put(key, Uint8Array.from(bytes), options);
  }

  async list(prefix: string, cursor = "") {
    const keys = this.keys().filter((key) => key.startsWith(prefix) && key > cursor);
    const objects = keys.slice(0, 1000).flatMap((key) => this.#objects.get(key)?.object ?? []);
    const last = objects.at(-1);
    return ok(keys.length > objects.length && last !== undefined ? { objects, cursor: last.key } : { objects });
  }

  async delete(keys: readonly string[]) {
    for (const key of keys) this.#objects.delete(key);
    return ok(undefined);
  }
}
