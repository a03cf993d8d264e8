/** What an analyst has read of the lake's files, kept for the next query. */
import type { ByteRange, LakeAdapter } from "../core/index.ts";
import { err, LakeSyncError, type Result } from "../schemas/index.ts";

/** Reads through, remembers ranges: no file of a lake ever changes. */
export class CachedStore implements LakeAdapter {
  readonly location: string;
  readonly #open: () => Promise<LakeAdapter>;
  readonly #max: number;
  readonly #ranges = new Map<string, Uint8Array>();
  #held = 0;
  requests = 0;
  bytes = 0;

  constructor(location: string, max: number, open: () => Promise<LakeAdapter>) {
    this.location = location;
    this.#max = max;
    this.#open = open;
  }

  async get(key: string, range?: ByteRange): Promise<Result<Uint8Array, LakeSyncError>> {
    const name = `${key} ${range?.offset ?? 0} ${range?.length ?? "end"}`;
    const known = this.#ranges.get(name);
    if (known) {
      this.#ranges.delete(name); // to the young end
      this.#ranges.set(name, known);
      return { ok: true, value: known };
    }
    const got = await (await this.#open()).get(key, range);
    this.requests += 1;
    if (got.ok) this.#keep(name, got.value);
    return got;
  }

  #keep(name: string, bytes: Uint8Array): void {
    this.bytes += bytes.length;
    this.#ranges.set(name, bytes);
    this.#held += bytes.length;
    for (const [oldest, old] of this.#ranges) {
      if (this.#held <= this.#max) return;
      this.#ranges.delete(oldest);
      this.#held -= old.length;
    }
  }

  // Only files are read here, whole or in part.
  readonly head = () => refused();
  readonly put = () => refused();
  readonly putStream = () => refused();
  readonly list = () => refused();
  readonly delete = () => refused();
}

const refused = async () => err(new LakeSyncError("DestinationRefused", "An analyst only reads files."));
