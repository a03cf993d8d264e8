/**
 * Metadata files in the object store. A file never changes once written, so what was read is kept in memory by its
 * location, newest use last, up to a number of bytes.
 */
import type { LakeAdapter, TableMetadata } from "../../core/index.ts";
import { ok } from "../../schemas/index.ts";
import { attempt } from "./errors.ts";
import { stringifyJson } from "./json.ts";
import { keyWithin, type Root } from "./locations.ts";
import { parseTableMetadata } from "./metadata.ts";
import type { Answer } from "./server.ts";

/** Parsed metadata takes several times its text, in an isolate of 128 MB that other objects share. Bytes of text. */
const CACHE_BYTES = 8 * 1024 * 1024;

export class MetadataFiles {
  readonly #store: LakeAdapter;
  readonly #root: Root;
  readonly #cache = new Map<string, { readonly metadata: TableMetadata; readonly bytes: number }>();
  #cached = 0;

  constructor(store: LakeAdapter, root: Root) {
    this.#store = store;
    this.#root = root;
  }

  /** Fails with NotFound or Corrupt for a file that is not there or not metadata, or as the store fails. */
  async read(location: string): Answer<TableMetadata> {
    const cached = this.#cache.get(location);
    if (cached !== undefined) {
      this.#cache.delete(location);
      this.#cache.set(location, cached);
      return ok(cached.metadata);
    }
    const bytes = await this.#store.get(keyWithin(this.#root, location, "A metadata file"));
    if (!bytes.ok) return bytes;
    const metadata = parseTableMetadata(new TextDecoder().decode(bytes.value));
    if (metadata.ok) this.#keep(location, metadata.value, bytes.value.length);
    return metadata;
  }

  /** Writes a file that must not be there yet. A write that arrives twice finds its own bytes, and has succeeded (L2). */
  async write(location: string, metadata: TableMetadata): Answer<void> {
    const key = keyWithin(this.#root, location, "A metadata file");
    const body = new TextEncoder().encode(stringifyJson(metadata));
    const put = await this.#store.put(key, body, { contentType: "application/json", ifAbsent: true });
    if (!put.ok && !(put.error.code === "Conflict" && (await this.#holds(key, body)))) return put;
    this.#keep(location, metadata, body.length);
    return ok(undefined);
  }

  async #holds(key: string, body: Uint8Array): Promise<boolean> {
    const there = await this.#store.get(key);
    return there.ok && there.value.length === body.length && there.value.every((byte, at) => byte === body[at]);
  }

  /** Deletes files that nothing names any more. One that stays is an orphan, and no harm: failures are not reported. */
  async remove(locations: readonly string[]): Promise<void> {
    for (const location of locations) this.#forget(location);
    const keys = locations.flatMap((location) => {
      const key = attempt(() => keyWithin(this.#root, location, "A metadata file"));
      return key.ok ? [key.value] : [];
    });
    if (keys.length > 0) await this.#store.delete(keys);
  }

  #keep(location: string, metadata: TableMetadata, bytes: number): void {
    this.#forget(location);
    if (bytes > CACHE_BYTES) return;
    this.#cache.set(location, { metadata, bytes });
    this.#cached += bytes;
    for (const oldest of this.#cache.keys()) {
      if (this.#cached <= CACHE_BYTES) break;
      this.#forget(oldest);
    }
  }

  #forget(location: string): void {
    this.#cached -= this.#cache.get(location)?.bytes ?? 0;
    this.#cache.delete(location);
  }
}
