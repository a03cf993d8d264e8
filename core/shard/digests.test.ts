import { expect, test } from "vitest";
import { unwrap } from "../../schemas/index.ts";
import { NodeSqlStore } from "../testing/node-sqlite.ts";
import { ADMIN, configOf, edit, push, shardOf, user } from "../testing/shard-kit.ts";
import { ShardEngine } from "./engine.ts";

const input = { claims: ADMIN, fingerprint: "", tables: [], maxBytes: 1 << 20 };

function filled(sql = new NodeSqlStore()) {
  const engine = shardOf({}, {}, sql);
  push(
    engine,
    ADMIN,
    Array.from({ length: 50 }, (_, n) => edit("INSERT", `r${n}`, n, { user_id: "alice", priority: n })),
  );
  push(engine, ADMIN, [
    edit("UPDATE", "r1", 100, { title: "x" }),
    edit("DELETE", "r2", 101),
    edit("UPDATE", "r3", -5, { title: "lost" }),
  ]);
  push(engine, ADMIN, [
    edit("INSERT", "n", 102, { body: "b" }, "notes"),
    edit("INSERT", "r2", 50),
    edit("INSERT", "r2", 200),
  ]);
  push(engine, ADMIN, [edit("UPDATE", "r1", 100, { title: "x" })]);
  return { sql, engine };
}

const truth = (engine: ShardEngine) => ["todos", "notes"].map((table) => String(engine.countDigest(table)));
const kept = (engine: ShardEngine) => ["todos", "notes"].map((table) => String(engine.digest(table)));

test("[V1] a shard's digests are those of its rows, after a restart and a flush too, with no row written for them", () => {
  const { sql, engine } = filled();
  expect(kept(engine)).toEqual(truth(engine));
  expect(engine.digest("todos").rows).toBe(50);
  expect(kept(new ShardEngine(sql))).toEqual(truth(engine));
  const { lease, tables } = engine.lease(0, "t") as Exclude<ReturnType<ShardEngine["lease"]>, string>;
  expect(lease.digests).toEqual(Object.fromEntries(["todos", "notes"].map((t) => [t, String(engine.digest(t))])));
  push(engine, ADMIN, [edit("DELETE", "r9", 300)]);
  const before = sql.rowsWritten;
  push(engine, ADMIN, [edit("DELETE", "r8", 301)]);
  expect(sql.rowsWritten - before).toBe(2); // the row, and the log's
  engine.settle(
    "t",
    tables.map(({ table }) => ({ table })),
    1,
  );
  expect(kept(engine)).toEqual(truth(engine));
  push(engine, ADMIN, [edit("DELETE", "r7", 302)]);
  for (const again of [engine, new ShardEngine(sql)]) expect(kept(again)).toEqual(truth(engine));
});

test("[V1] rows that move take their digest along, however often they are copied", () => {
  const { engine } = filled();
  const other = shardOf();
  const rows = engine.exportRows("todos", "", 1000);
  other.importRows("todos", rows.slice(0, 30), engine.head);
  other.importRows("todos", rows.slice(20), engine.head);
  expect(String(other.digest("todos"))).toBe(String(engine.digest("todos")));
  engine.dropRows("todos");
  expect(engine.digest("todos").rows).toBe(0);
  expect(kept(engine)).toEqual(truth(engine));
});

test("[V1] a shard from before there were digests counts its rows", () => {
  const { sql, engine } = filled();
  sql.exec("DELETE FROM meta WHERE key = 'digests'");
  sql.exec("UPDATE log SET digest = NULL");
  expect(kept(new ShardEngine(sql))).toEqual(truth(engine));
});

test("[V1] a shard that was never flushed starts without reading a row, after a push that failed too", () => {
  const { sql, engine } = filled();
  let reads = 0;
  let failing = false;
  const counting = new Proxy(sql, {
    get: (target, name) => {
      const value = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const [statement] = args;
        if (name === "exec" && /FROM \(?SELECT id, seq, state FROM rows/.test(String(statement))) reads++;
        if (failing && String(statement).startsWith("INSERT INTO log")) throw new Error("disk");
        return value.apply(target, args);
      };
    },
  });
  const again = new ShardEngine(counting);
  expect([kept(again), reads]).toEqual([truth(engine), 0]);
  failing = true;
  expect(() => push(again, ADMIN, [edit("DELETE", "r5", 400)])).toThrow("disk");
  expect([kept(again), reads]).toEqual([truth(engine), 0]);
  // The proxy sees what counting reads.
  again.countDigest("todos");
  expect(reads).toBeGreaterThan(0);
});

test("[V1] a page that makes a device current carries digests of the tables that its token sees whole, and of no other", () => {
  const rules = {
    buckets: [
      { name: "a", tables: ["notes"], filters: [] },
      { name: "b", tables: ["todos"], filters: [{ column: "user_id", op: "eq" as const, value: "jwt:sub" }] },
    ],
  };
  const { engine } = filled();
  engine.configure(configOf({ version: 2, rules }));
  const pull = (claims = ADMIN, maxBytes = 1 << 20) => unwrap(engine.pull({ ...input, claims, maxBytes }));
  expect(pull().digests).toEqual({ todos: String(engine.digest("todos")), notes: String(engine.digest("notes")) });
  expect(pull(user("alice")).digests).toEqual({ notes: String(engine.digest("notes")) });
  const part = pull(ADMIN, 100);
  expect([part.hasMore, part.digests]).toEqual([true, undefined]);
});

test("[V1] a push that fails leaves the digests as they were", () => {
  const { sql, engine } = filled();
  const before = kept(engine);
  const failing = new Proxy(sql, {
    get: (target, name) =>
      name === "exec"
        ? (statement: string, ...bindings: never[]) => {
            if (statement.startsWith("INSERT INTO log")) throw new Error("disk");
            return target.exec(statement, ...bindings);
          }
        : typeof Reflect.get(target, name) === "function"
          ? Reflect.get(target, name).bind(target)
          : Reflect.get(target, name),
  });
  const broken = new ShardEngine(failing);
  expect(() => push(broken, ADMIN, [edit("DELETE", "r5", 400)])).toThrow("disk");
  expect(kept(broken)).toEqual(before);
});
