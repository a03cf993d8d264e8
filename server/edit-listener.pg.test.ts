/** Where nothing can be heard of a real PostgreSQL: why is told, once, and the listener ends when it is to. */
import { expect, inject, onTestFinished, test } from "vitest";
import { PostgresAdapter, PostgresFeed } from "../adapters/index.ts";
import { freshDatabase, onPostgres } from "../adapters/testing.ts";
import type { LakeSyncError } from "../schemas/index.ts";
import { unwrap } from "../schemas/index.ts";
import { EditListener } from "./edit-listener.ts";

const TABLE = { table: "items", version: 1, columns: [], lastColumnId: 0, shards: 0 };

/** @param followed whether anybody's edits are wanted */
async function listening({ user = "postgres", followed = true, port = "" } = {}) {
  const { url } = await freshDatabase(inject("postgresUrl"));
  const adapter = new PostgresAdapter({ connectionString: url });
  const feed = new PostgresFeed({ connectionString: url });
  unwrap(await adapter.ensureSchema(TABLE));
  if (followed) unwrap(await feed.follow(TABLE));
  await feed.close();
  await adapter.close();
  const told: LakeSyncError[] = [];
  const connectionString = Object.assign(new URL(url), { username: user, ...(port && { port }) }).href;
  const take = async () => {};
  const trouble = (error: LakeSyncError) => told.push(error);
  const listener = new EditListener({ name: "SHOP", connectionString, take, trouble });
  listener.start();
  onTestFinished(() => listener.stop());
  return { listener, told, url };
}

const patient = { timeout: 30_000, interval: 20 };

test.each([
  ["a server without logical decoding", {}, "Misconfigured", "wal_level = logical"],
  ["a user without the right", { user: "listens_not" }, "Misconfigured", "REPLICATION"],
  ["a server that is away", { port: "9" }, "DestinationUnavailable", "tried again"],
])("%s", async (_, options, code, remedy) => {
  const user = "DO $$ BEGIN CREATE ROLE listens_not LOGIN; EXCEPTION WHEN duplicate_object THEN END $$";
  await onPostgres(inject("postgresUrl"), user);
  const { listener, told } = await listening(options);
  await expect.poll(() => told, patient).toMatchObject([{ code, message: expect.stringContaining(remedy) }]);
  expect(listener.live).toBe(false);
});

test("where nobody's edits are wanted nothing is asked of the server, and nothing is missed", async () => {
  const { listener, told, url } = await listening({ followed: false });
  await expect.poll(() => listener.live, patient).toBe(true);
  expect(told).toEqual([]);
  expect(await onPostgres(url, "SELECT FROM pg_publication")).toEqual([]);
});
