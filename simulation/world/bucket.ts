/** The lake's bucket as a Worker's binding has it: R2's shapes over a store in memory, in bad weather. */
import type { MemoryStore } from "../../lake/index.ts";
import { type LakeSyncError, type Result, unwrap } from "../../schemas/index.ts";
import type { Process } from "../kernel/process.ts";
import type { Network } from "./network.ts";

const STORE_MS = 30;
/** A write that was given up as failed, or is repeated by something on the way, may still land this much later. */
const LATE_MS = 8000;

const found = <T>(result: Result<T, LakeSyncError>): T | null => (result.ok ? result.value : null);

export function bucketFor(store: MemoryStore, network: Network, caller: Process): object {
  const { scheduler, random } = network;
  const later = (run: () => Promise<unknown>) => void scheduler.after(random.next() * LATE_MS, () => void run());
  const ask = <T>(run: () => Promise<T>): Promise<T> =>
    network.call(caller, STORE_MS, async () => {
      if (network.strikes("storeFails")) throw new Error("R2: internal error (10001)");
      const silent = network.strikes("storeSilent");
      if (silent && random.chance(0.5)) later(run);
      else {
        const answer = await run();
        if (!silent) return answer;
      }
      throw new Error("R2: the connection broke off");
    });
  const infoOf = (object: { key: string; size: number; etag: string; modifiedMs: number }) => ({
    key: object.key,
    size: object.size,
    httpEtag: object.etag,
    uploaded: new Date(object.modifiedMs),
  });
  return {
    get: (key: string, options: { range?: { offset: number; length?: number } | Headers } = {}) =>
      ask(async () => {
        const range = options.range instanceof Headers ? undefined : options.range; // devices ask for whole objects
        const [bytes, object] = [found(await store.get(key, range)), found(await store.head(key))];
        return bytes && object && { ...infoOf(object), body: bytes, arrayBuffer: async () => bytes.buffer };
      }),
    head: (key: string) =>
      ask(async () => {
        const object = found(await store.head(key));
        return object && infoOf(object);
      }),
    put: (key: string, body: Uint8Array, options: { onlyIf?: object } = {}) => {
      const bytes = body.slice();
      const write = async () => {
        const object = found(await store.put(key, bytes, { ifAbsent: options.onlyIf !== undefined }));
        return object && infoOf(object);
      };
      if (network.strikes("storeTwice")) later(write);
      return ask(write);
    },
    list: ({ prefix, cursor }: { prefix: string; cursor?: string }) =>
      ask(async () => {
        const page = unwrap(await store.list(prefix, cursor));
        return { objects: page.objects.map(infoOf), truncated: page.cursor !== undefined, cursor: page.cursor };
      }),
    delete: (keys: readonly string[]) => ask(async () => unwrap(await store.delete(keys))),
  };
}
