/** What every object store must do; run on each of them. */
import { describe, expect, test } from "vitest";
import type { LakeAdapter } from "../../core/index.ts";
import { unwrap } from "../../schemas/index.ts";

const bytes = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) % 251);

async function* inParts(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

/** @param make an empty store, anew for each test */
export function lakeAdapterContract(name: string, make: () => LakeAdapter | Promise<LakeAdapter>): void {
  describe(`object store: ${name}`, () => {
    const failure = async (result: Promise<{ ok: boolean; error?: { code: string } }>) => (await result).error?.code;

    test("keeps what was put, whole and in ranges", async () => {
      const store = await make();
      const put = unwrap(await store.put("a/b.bin", bytes(1000), { contentType: "application/octet-stream" }));
      expect(put).toMatchObject({ key: "a/b.bin", size: 1000 });
      expect(unwrap(await store.get("a/b.bin"))).toEqual(bytes(1000));
      expect(unwrap(await store.get("a/b.bin", { offset: 10, length: 5 }))).toEqual(bytes(1000).slice(10, 15));
      expect(unwrap(await store.get("a/b.bin", { offset: 990 }))).toEqual(bytes(1000).slice(990));
      expect(unwrap(await store.head("a/b.bin"))).toMatchObject({ key: put.key, size: put.size, etag: put.etag });
      unwrap(await store.put("empty", new Uint8Array(0)));
      expect(unwrap(await store.get("empty"))).toHaveLength(0);
    });

    test("says NotFound for what is not there", async () => {
      const store = await make();
      expect(await failure(store.get("nothing"))).toBe("NotFound");
      expect(await failure(store.get("nothing", { offset: 0, length: 1 }))).toBe("NotFound");
      expect(await failure(store.head("nothing"))).toBe("NotFound");
    });

    test("replaces, with another etag, unless told to write only if absent", async () => {
      const store = await make();
      const first = unwrap(await store.put("k", bytes(10, 1), { ifAbsent: true }));
      expect(await failure(store.put("k", bytes(10, 2), { ifAbsent: true }))).toBe("Conflict");
      expect(unwrap(await store.get("k"))).toEqual(bytes(10, 1));
      const second = unwrap(await store.put("k", bytes(10, 2)));
      expect(second.etag).not.toBe(first.etag);
      expect(unwrap(await store.get("k"))).toEqual(bytes(10, 2));
    });

    test("takes a stream of any parts, small and large", async () => {
      const store = await make();
      const MiB = 1024 * 1024;
      const parts = [bytes(5 * MiB, 1), bytes(1, 2), bytes(6 * MiB, 3), bytes(9 * MiB, 4)];
      const size = parts.reduce((sum, part) => sum + part.length, 0);
      expect(unwrap(await store.putStream("big", inParts(...parts)))).toMatchObject({ key: "big", size });
      expect(unwrap(await store.get("big", { offset: 5 * MiB - 1, length: 3 }))).toEqual(
        new Uint8Array([...bytes(5 * MiB, 1).slice(-1), ...bytes(1, 2), ...bytes(1, 3)]),
      );
      expect(unwrap(await store.get("big", { offset: size - 4 }))).toEqual(bytes(9 * MiB, 4).slice(-4));
      unwrap(await store.putStream("small", inParts(bytes(3), bytes(4))));
      expect(unwrap(await store.get("small"))).toEqual(new Uint8Array([...bytes(3), ...bytes(4)]));
      unwrap(await store.putStream("none", inParts()));
      expect(unwrap(await store.get("none"))).toHaveLength(0);
    });

    test("shows nothing of a stream that broke off", async () => {
      const store = await make();
      async function* broken() {
        yield bytes(9 * 1024 * 1024);
        throw new Error("the writer died");
      }
      expect((await store.putStream("half", broken())).ok).toBe(false);
      expect(await failure(store.get("half"))).toBe("NotFound");
      expect(unwrap(await store.list("")).objects).toEqual([]);
    });

    test("refuses a stream to a key that is taken, if told to write only if absent", async () => {
      const store = await make();
      unwrap(await store.put("k", bytes(1)));
      expect(await failure(store.putStream("k", inParts(bytes(9)), { ifAbsent: true }))).toBe("Conflict");
      expect(await failure(store.putStream("k", inParts(bytes(9 * 1024 * 1024)), { ifAbsent: true }))).toBe("Conflict");
      expect(unwrap(await store.get("k"))).toEqual(bytes(1));
    });

    test("lists keys below a prefix in order of code points, page by page", async () => {
      const store = await make();
      const keys = Array.from({ length: 1005 }, (_, i) => `many/${String(i).padStart(4, "0")}`);
      for (const key of [...keys, "many-not", "more/a"]) unwrap(await store.put(key, bytes(1)));
      const listed: string[] = [];
      let cursor: string | undefined;
      do {
        const page = unwrap(await store.list("many/", cursor));
        listed.push(...page.objects.map((object) => object.key));
        cursor = page.cursor;
      } while (cursor !== undefined);
      expect(listed).toEqual(keys);
    });

    test("deletes many keys, also such as are not there", async () => {
      const store = await make();
      for (const key of ["a", "b", "c"]) unwrap(await store.put(key, bytes(1)));
      unwrap(await store.delete(["a", "c", "never was"]));
      unwrap(await store.delete([]));
      expect(unwrap(await store.list("")).objects.map((object) => object.key)).toEqual(["b"]);
    });
  });
}
