/**
 * An object store in a folder: for self-hosting without a bucket, the demo, and other engines' readers. Part of the Node
 * door only. Objects appear whole: they are written aside and renamed.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { link, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { pathToFileURL } from "node:url";
import type { ByteRange, LakeAdapter, LakeObject, PutOptions } from "../../core/index.ts";
import { compareCodePoints, err, LakeSyncError, ok } from "../../schemas/index.ts";
import { conflict, notFound, type StoreResult, unavailable } from "./errors.ts";

const PAGE = 1000;
/** Where objects are written before they are renamed; no key begins like this. */
const ASIDE = ".aside";

export class FolderStore implements LakeAdapter {
  readonly location: string;
  readonly #root: string;
  #writes = 0;

  /** @param folder made when it is not there; its file:// URL is the store's location */
  constructor(folder: string) {
    this.#root = resolve(folder);
    this.location = pathToFileURL(this.#root).href.replace(/\/$/, "");
  }

  #path(key: string): string {
    const path = resolve(this.#root, key);
    if (path.startsWith(this.#root + sep)) return path;
    throw new LakeSyncError("BadRequest", `${JSON.stringify(key)} is not a key below the store's folder.`, { key });
  }

  async get(key: string, range?: ByteRange): StoreResult<Uint8Array> {
    return this.#try(key, async () => {
      if (!range) return new Uint8Array(await readFile(this.#path(key)));
      await using file = await open(this.#path(key));
      const { size } = await file.stat();
      const length = Math.max(0, Math.min(range.length ?? size, size - range.offset));
      const bytes = new Uint8Array(length);
      await file.read(bytes, 0, length, range.offset);
      return bytes;
    });
  }

  async head(key: string): StoreResult<LakeObject> {
    return this.#try(key, () => this.#info(key));
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): StoreResult<LakeObject> {
    return this.#write(key, options, (aside) => writeFile(aside, body));
  }

  async putStream(key: string, parts: AsyncIterable<Uint8Array>, options: PutOptions = {}): StoreResult<LakeObject> {
    return this.#write(key, options, (aside) => pipeline(Readable.from(parts), createWriteStream(aside)));
  }

  async list(prefix: string, cursor?: string): StoreResult<{ objects: LakeObject[]; cursor?: string }> {
    return this.#try(prefix, async () => {
      const entries = await readdir(this.#root, { recursive: true, withFileTypes: true }).catch(() => []);
      const keys = entries
        .filter((entry) => entry.isFile())
        .map((entry) =>
          join(entry.parentPath, entry.name)
            .slice(this.#root.length + 1)
            .split(sep)
            .join("/"),
        )
        .filter((key) => key.startsWith(prefix) && !key.startsWith(ASIDE))
        .filter((key) => cursor === undefined || compareCodePoints(key, cursor) > 0)
        .sort(compareCodePoints);
      const page = keys.slice(0, PAGE);
      const objects = await Promise.all(page.map((key) => this.#info(key)));
      return { objects, ...(keys.length > PAGE ? { cursor: page.at(-1) as string } : {}) };
    });
  }

  async delete(keys: readonly string[]): StoreResult<void> {
    return this.#try(keys[0] ?? "", async () => {
      for (const key of keys) await rm(this.#path(key), { force: true });
    });
  }

  async #info(key: string): Promise<LakeObject> {
    const { size, mtimeMs, ino } = await stat(this.#path(key));
    const etag = createHash("sha256").update(`${ino}:${size}:${mtimeMs}`).digest("hex").slice(0, 32);
    return { key, size, etag: `"${etag}"`, modifiedMs: Math.floor(mtimeMs) };
  }

  #write(key: string, options: PutOptions, write: (aside: string) => Promise<unknown>): StoreResult<LakeObject> {
    return this.#try(key, async () => {
      const path = this.#path(key);
      const aside = join(this.#root, ASIDE, `${process.pid}-${this.#writes++}`);
      await mkdir(dirname(aside), { recursive: true });
      await mkdir(dirname(path), { recursive: true });
      try {
        await write(aside);
        // A link fails where the name is taken; a rename replaces.
        if (options.ifAbsent) await link(aside, path);
        else await rename(aside, path);
      } finally {
        await rm(aside, { force: true });
      }
      return this.#info(key);
    });
  }

  async #try<T>(key: string, body: () => Promise<T>): StoreResult<T> {
    try {
      return ok(await body());
    } catch (error) {
      if (error instanceof LakeSyncError) return err(error);
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "ENOENT" || code === "EISDIR" || code === "ENOTDIR") return err(notFound(key));
      return err(code === "EEXIST" ? conflict(key) : unavailable(key, error));
    }
  }
}
