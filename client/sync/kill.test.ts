import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { LocalDB, LocalTransport, SyncCoordinator } from "../index.ts";
import { flaky, TestWorld, testGateway } from "../testing.ts";

const folder = mkdtempSync(join(tmpdir(), "lakesync-kill-"));
afterAll(() => rmSync(folder, { recursive: true }));

const writer = join(import.meta.dirname, "../testing/writer.ts");

/** Lets the writer commit a number of rows and kills it in the middle of whatever it does then. */
async function writeAndKill(path: string, commits: number, random: () => number): Promise<string[]> {
  const child = spawn(process.execPath, [writer, path], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  await new Promise<void>((resolve) => {
    child.stdout.on("data", (chunk) => {
      output += chunk;
      if (output.split("\n").length > commits) setTimeout(() => child.kill("SIGKILL"), random() * 5);
    });
    child.on("close", () => resolve());
  });
  return output.split("\n").slice(0, -1);
}

test("[C2] [C1] killed at any moment: every commit is there, with its entries, and arrives exactly once", async () => {
  const { random } = new TestWorld(7);
  const path = join(folder, "device.sqlite");
  const gateway = testGateway({ todos: { title: "string" } });
  const told = new Set<string>();
  for (let kill = 0; kill < 12; kill++) {
    for (const id of await writeAndKill(path, Math.floor(random() * 60), random)) told.add(id);
    const db = await LocalDB.open({ name: "writer", backend: "file", path });
    // A session that is itself broken off in the middle of its pushes, and again.
    const network = flaky(gateway.as(), random, { request: 0.2, answer: 0.3, twice: 0.2 });
    const sync = new SyncCoordinator(db, new LocalTransport(network), { batchDeltas: 7 });
    await sync.syncOnce().catch(() => undefined);
    const rows = new Set((await db.query<{ id: string }>("SELECT id FROM todos")).map((r) => r.id));
    for (const id of told) expect(rows.has(id), `${id} was committed`).toBe(true);
    await db.close();
  }
  const db = await LocalDB.open({ name: "writer", backend: "file", path });
  await new SyncCoordinator(db, new LocalTransport(gateway.as())).syncOnce();
  const rows = await db.query<{ id: string; title: string }>("SELECT id, title FROM todos ORDER BY id");
  expect(Object.fromEntries(gateway.rows("todos"))).toEqual(
    Object.fromEntries(rows.map(({ id, title }) => [id, { title }])),
  );
  // Two edits a row, each once in the gateway's history.
  expect(gateway.engine.head).toBe(rows.length * 2);
  expect(rows.length).toBeGreaterThan(100);
  await db.close();
});
