/** A real PostgreSQL that needs somebody: the flush rests, keeps its log, and goes on when it is asked to. */
import { expect, inject, onTestFinished, test } from "vitest";
import { PostgresAdapter } from "../../adapters/index.ts";
import { freshDatabase, onPostgres, TODOS } from "../../adapters/testing.ts";
import { flushOnce } from "../../core/index.ts";
import { type ClientId, FLUSH_ATTEMPTS_MAX, packHlc, unwrap } from "../../schemas/index.ts";
import { FlushedShard } from "./flushed-shard.ts";

/** A shard with an edit, and a database of its own. */
async function world() {
  const { name, url } = await freshDatabase(inject("postgresUrl"));
  const shard = new FlushedShard(TODOS);
  const client = "client-1" as ClientId;
  const push = (rowId: string, title: string) =>
    shard.push(client, [
      { op: "INSERT", table: "todos", rowId, hlc: packHlc(Date.now() - 1000, 0), clientId: client, columns: { title } },
    ]);
  push("a", "one");
  let attempts = 0;
  const flush = async (atOnce: boolean) => {
    const adapter = new PostgresAdapter({ connectionString: url });
    const clock = { now: () => Date.now() };
    const source = shard.source();
    const summary = await flushOnce({ source, destination: adapter, clock, token: `t${++attempts}`, atOnce });
    await adapter.close();
    return summary.state;
  };
  const adapter = new PostgresAdapter({ connectionString: url });
  onTestFinished(() => adapter.close());
  unwrap(await adapter.ensureSchema(TODOS));
  const readOnly = (on: boolean) =>
    onPostgres(inject("postgresUrl"), `ALTER DATABASE ${name} SET default_transaction_read_only = ${on}`);
  const titles = async () => unwrap(await adapter.getLatestState({ table: TODOS, limit: 9 })).columns[0]?.values;
  return { shard, push, flush, readOnly, titles, sql: (sql: string) => onPostgres(url, sql) };
}

test("[F2] [F3] a read-only database lets the flush rest with its reason: nothing is set aside, an operator tries again at once", async () => {
  const { shard, push, flush, readOnly, titles } = await world();
  await readOnly(true);
  const rests: number[] = [];
  for (let attempt = 1; attempt <= FLUSH_ATTEMPTS_MAX + 2; attempt++) {
    expect(await flush(attempt > 1)).toBe("failed");
    const { lease, lastError, setAside, unflushedDeltas } = shard.engine.status();
    expect(lease).toMatchObject({ attempt, resting: true });
    expect(lastError).toMatch(/^todos: DestinationUnavailable: .*read-only/);
    expect([setAside, unflushedDeltas]).toEqual([[], 1]);
    rests.push((lease?.expiresMs ?? 0) - Date.now());
    expect(await flush(false)).toBe("busy");
  }
  // Each rest is longer than the one before, up to ten minutes.
  expect(rests.map((ms) => Math.round(ms / 10_000))).toEqual([3, 6, 12, 24, 48, 60, 60]);
  await readOnly(false);
  push("b", "two");
  expect(await flush(true)).toBe("flushed");
  expect(await flush(false)).toBe("flushed");
  expect(await titles()).toEqual(["one", "two"]);
  expect(shard.engine.status()).toMatchObject({ lease: null, lastError: null, unflushedDeltas: 0 });
});

test("[F3] failures that pass are not counted: a refusal is tried five times after them, then it is set aside", async () => {
  const { shard, push, flush, readOnly, titles, sql } = await world();
  await readOnly(true);
  for (let attempt = 1; attempt < FLUSH_ATTEMPTS_MAX; attempt++) expect(await flush(true)).toBe("failed");
  await readOnly(false);
  await sql("ALTER TABLE todos ADD CONSTRAINT short CHECK (length(title) < 3)");
  for (let refusal = 1; refusal <= FLUSH_ATTEMPTS_MAX; refusal++) {
    expect(shard.engine.status().setAside).toEqual([]);
    // Refused once between failures that pass: the count goes on.
    if (refusal === 2) {
      await readOnly(true);
      expect(await flush(true)).toBe("failed");
      await readOnly(false);
    }
    expect(await flush(true)).toBe("failed");
  }
  expect(shard.engine.status()).toMatchObject({
    unflushedDeltas: 0,
    setAside: [{ table: "todos", fromSeq: 1, toSeq: 1, reason: expect.stringMatching(/constraint short/) }],
  });
  push("b", "2");
  expect(await flush(false)).toBe("flushed");
  expect(await titles()).toEqual(["2"]);
});
