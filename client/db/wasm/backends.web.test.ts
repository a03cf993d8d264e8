import { describe, expect, test } from "vitest";
import { LocalDB, SyncTracker } from "../../index.ts";

const SCHEMA = { todos: { title: { type: "string" }, rank: { type: "number" } } } as const;
let names = 0;
const fresh = () => `test-${Date.now()}-${names++}`;

describe.each(["opfs", "idb"] as const)("backend %s", (backend) => {
  test("what was committed is there after closing and opening, and pushed entries are waiting", async () => {
    const name = fresh();
    let db = await LocalDB.open({ name, backend, schema: SCHEMA });
    const { clientId } = db;
    const tracker = new SyncTracker(db);
    await tracker.insertMany(
      "todos",
      Array.from({ length: 5000 }, (_, n) => [`r${n}`, { title: `t${n}`, rank: n / 7 }]),
    );
    await db.exec("UPDATE todos SET title = 'x' WHERE id = 'r7'");
    await db.close();
    db = await LocalDB.open({ name, backend, schema: SCHEMA });
    expect(db.backend).toBe(backend);
    expect(db.clientId).toBe(clientId);
    expect(await db.query("SELECT count(*) AS n, sum(rank) AS s FROM todos")).toEqual([
      { n: 5000, s: expect.closeTo((4999 * 5000) / 14, 3) },
    ]);
    expect(await db.query("SELECT count(*) AS n FROM lakesync_outbox")).toEqual([{ n: 5001 }]);
    expect(await db.query("SELECT title, rank FROM todos WHERE id = 'r7'")).toEqual([{ title: "x", rank: 1 }]);
    await db.close();
  });

  test("[C1] what is rolled back leaves nothing behind, on disk either", async () => {
    const name = fresh();
    let db = await LocalDB.open({ name, backend, schema: SCHEMA });
    const failing = db.transaction(async (tx) => {
      await tx.exec("INSERT INTO todos (id, title) VALUES ('1', 'a')");
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    await db.exec("INSERT INTO todos (id, title) VALUES ('2', 'b')");
    await db.close();
    db = await LocalDB.open({ name, backend, schema: SCHEMA });
    expect(await db.query("SELECT row_id FROM lakesync_outbox")).toEqual([{ row_id: "2" }]);
    await db.close();
  });
});

test.each(["opfs", "idb"] as const)("a database on %s may have a long name in any script", async (backend) => {
  const name = `${fresh()}-${"zażółć/日本語 ".repeat(8)}`;
  await (await LocalDB.open({ name, backend, schema: SCHEMA })).exec("INSERT INTO todos (id) VALUES ('1')");
});

test("persist() says what the browser decided", async () => {
  const db = await LocalDB.open({ name: fresh(), schema: SCHEMA });
  const promised = await db.persist();
  expect(promised).toBe(await navigator.storage.persisted());
  await db.close();
  expect(await (await LocalDB.open({ name: fresh(), backend: "memory" })).persist()).toBe(false);
});

test("auto takes OPFS here, and finds the database again where it was kept", async () => {
  const [first, second] = [fresh(), fresh()];
  const auto = await LocalDB.open({ name: first, schema: SCHEMA });
  expect(auto.backend).toBe("opfs");
  await auto.close();
  await (await LocalDB.open({ name: second, backend: "idb", schema: SCHEMA })).close();
  const again = await LocalDB.open({ name: second, schema: SCHEMA });
  expect(again.backend).toBe("idb");
  await again.close();
});
