import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { lakeAdapterContract } from "../testing/store-contract.ts";
import { FolderStore } from "./folder.ts";
import { MemoryStore } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "lakesync-store-"));
afterAll(() => rmSync(folder, { recursive: true }));
let made = 0;

lakeAdapterContract("memory", () => new MemoryStore({ clock: { now: () => 1_700_000_000_000 } }));
lakeAdapterContract("folder", () => new FolderStore(join(folder, String(made++))));

test("[S3] a key cannot leave the store's folder", async () => {
  const store = new FolderStore(join(folder, "inner"));
  expect(await store.put("../outside", new Uint8Array(1))).toMatchObject({ ok: false, error: { code: "BadRequest" } });
});
