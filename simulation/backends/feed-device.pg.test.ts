/** Another program's SQL, a gateway in workerd, and devices of the SDK: what is edited in a Postgres reaches them, and back. */
import { expect, inject, test } from "vitest";
import { fedGateway } from "./fed-gateway.ts";

const world = (options: { feedMs?: number; shards?: number; rows?: "all" | "own" } = {}) =>
  fedGateway({ postgres: inject("postgresUrl"), feedMs: 3_600_000, ...options });

test("[C5] INSERT, UPDATE and DELETE by SQL reach a device; a device's edits do not come back as somebody else's", async () => {
  const { ask, flush, sql, device, table, history } = await world({ shards: 2 });
  const alice = await device();
  for (const id of ["a", "b"]) await alice.tracker.insert("items", id, { title: id, votes: 1 });
  await alice.sync();
  await flush();
  expect(await ask("PUT", "feeds", { tables: ["items"] })).toMatchObject({
    status: 200,
    body: { feeds: [{ table: "items", waiting: 0, refused: 0 }] },
  });
  await alice.tracker.update("items", "a", { votes: 2 });
  await alice.sync();
  await flush();
  expect((await ask("GET", "feeds")).body.feeds).toMatchObject([{ waiting: 0 }]);
  await sql(
    `INSERT INTO items (_id, title) VALUES ('c', 'by SQL')`,
    `UPDATE items SET title = upper(title) WHERE _id = 'a'`,
    `DELETE FROM items WHERE _id = 'b'`,
  );
  expect((await ask("GET", "feeds")).body.feeds).toMatchObject([
    { table: "items", waiting: 3, oldestMs: expect.any(Number) },
  ]);
  expect((await ask("POST", "feeds")).body).toEqual({ feeds: [{ table: "items", taken: 3, refused: 0, more: false }] });
  await alice.sync();
  const rows = [
    ["a", "A", 2],
    ["c", "by SQL", null],
  ];
  expect(await alice.rows()).toEqual(rows);
  // Flushed back to where they came from, they are no edits of others.
  await flush();
  expect((await ask("POST", "feeds")).body).toEqual({ feeds: [{ table: "items", taken: 0, refused: 0, more: false }] });
  expect(await table()).toEqual(rows);
  expect((await history()).map(({ _op, _id }) => `${_op} ${_id}`).sort()).toEqual(
    ["INSERT a", "INSERT b", "UPDATE a", "INSERT c", "UPDATE a", "DELETE b"].sort(),
  );
  expect((await ask("GET", "verify")).body).toMatchObject({ ok: true });
});

test("[M2] a device and SQL edit different columns of a row at once: both survive, on devices and in the database", async () => {
  const { ask, flush, sql, device, table } = await world();
  const [alice, bob] = [await device(), await device("bob")];
  await alice.tracker.insert("items", "a", { title: "one", votes: 1 });
  await alice.sync();
  await flush();
  await ask("PUT", "feeds", { tables: ["items"] });
  await bob.sync();
  await alice.tracker.update("items", "a", { title: "of alice" });
  await sql("UPDATE items SET votes = 7");
  await bob.tracker.update("items", "a", { votes: 2 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  await alice.sync();
  await flush();
  await sql("UPDATE items SET votes = votes + 1");
  await ask("POST", "feeds");
  await bob.sync();
  await alice.sync();
  await bob.sync();
  await flush();
  const both = [["a", "of alice", 8]];
  expect([await alice.rows(), await bob.rows(), await table()]).toEqual([both, both, both]);
  expect((await ask("GET", "feeds")).body.feeds).toMatchObject([{ waiting: 0 }]);
});

test("[PL7] a row that SQL gives to another user leaves the device and reaches theirs", async () => {
  const { ask, flush, sql, device } = await world({ rows: "own" });
  const [alice, bob] = [await device(), await device("bob")];
  await alice.tracker.insert("items", "a", { title: "one", owner: "alice" });
  await alice.sync();
  await flush();
  await ask("PUT", "feeds", { tables: ["items"] });
  await sql("UPDATE items SET owner = 'bob'");
  await ask("POST", "feeds");
  await alice.sync();
  await bob.sync();
  expect([await alice.rows(), await bob.rows()]).toEqual([[], [["a", "one", null]]]);
});

test("what waits is taken in by itself, as long as the table is fed", async () => {
  const { ask, sql, device } = await world({ feedMs: 200 });
  const alice = await device();
  await ask("PUT", "feeds", { tables: ["items"] });
  await sql(`INSERT INTO items (_id, title) VALUES ('a', 'by SQL')`);
  const synced = async () => {
    await alice.sync();
    return alice.rows();
  };
  await expect.poll(synced, { timeout: 30_000 }).toEqual([["a", "by SQL", null]]);
  expect((await ask("PUT", "feeds", { tables: [] })).body).toEqual({ feeds: [] });
  await sql(`INSERT INTO items (_id) VALUES ('b')`);
  expect(await sql("SELECT * FROM lakesync_foreign")).toEqual([]);
});

test("[F1] a gateway that is killed while it takes edits in loses none and takes none twice", async () => {
  const { ask, flush, sql, device, table, history, crash } = await world();
  await ask("PUT", "feeds", { tables: ["items"] });
  await sql(
    "INSERT INTO items (_id, votes) SELECT 'r' || lpad(n::text, 5, '0'), n FROM generate_series(1, 5000) AS n",
    "UPDATE items SET votes = votes * 2 WHERE votes % 2 = 0",
  );
  let deaths = 0;
  for (const ms of [30, 90, 160, 250, 400]) {
    const polled = ask("POST", "feeds").then(
      () => false,
      () => true,
    );
    await new Promise((resolve) => setTimeout(resolve, ms));
    await crash();
    if (await polled) deaths++;
  }
  expect(deaths).toBeGreaterThan(0);
  const left = (await ask("GET", "feeds")).body.feeds[0].waiting;
  expect((await ask("POST", "feeds")).body).toEqual({
    feeds: [{ table: "items", taken: left, refused: 0, more: false }],
  });
  await flush();
  const edits = (await history()).map(({ _op, _id }) => `${_op} ${_id}`);
  expect([edits.length, new Set(edits).size]).toEqual([7500, 7500]);
  const alice = await device();
  await alice.sync();
  expect(await alice.rows()).toEqual(await table());
  expect(await alice.rows()).toHaveLength(5000);
}, 120_000);

test("[S2] only admins of the gateway; a table that is not there or is not in Postgres is named with the remedy", async () => {
  const { ask } = await world();
  expect(await ask("PUT", "feeds", { tables: ["nothing"] })).toMatchObject({ status: 404 });
  const lake = await ask("PUT", "feeds", { tables: ["notes"] });
  expect(lake).toMatchObject({
    status: 400,
    body: { error: { code: "BadConfig", message: expect.stringContaining("admin/backends") } },
  });
  expect((await ask("GET", "feeds")).body).toEqual({ feeds: [] });
});
