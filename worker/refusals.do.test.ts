/** A delta that breaks a rule is refused by itself, by a code and a sentence that says what to do. */
import { beforeAll, expect, test } from "vitest";
import { encodeBinary, PROTOBUF, proto } from "../schemas/index.ts";
import { ALL, delta, hlc, insert, type Json, nested, type TestGateway, todos, withDocs } from "./testing/gateway.ts";

let gateway: TestGateway;
let round = 0;
beforeAll(async () => {
  gateway = await todos(ALL);
  await withDocs(gateway);
});

const REFUSALS: [string, Json, string, RegExp][] = [
  ["unknown table", delta("INSERT", "r", { title: "x" }, hlc(), "nope"), "UnknownTable", /"nope".*\/admin\/tables/],
  ["unknown column", delta("INSERT", "r", { titel: "x" }), "UnknownColumn", /"titel".*admin/],
  [
    "10,000 columns",
    delta("INSERT", "r", Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`c${i}`, i]))),
    "UnknownColumn",
    /"c0"/,
  ],
  [
    "a column twice",
    {
      ...delta("INSERT", "r"),
      columns: [
        { column: "title", value: "a" },
        { column: "title", value: "b" },
      ],
    },
    "BadRequest",
    /"title" twice/,
  ],
  ["wrong type", delta("INSERT", "r", { done: "yes" }), "WrongType", /"done".*"yes".*true or false/],
  ["a number too large", delta("INSERT", "r", { priority: 2 ** 60 }), "WrongType", /"priority".*decimal string/],
  [
    "a date without a zone",
    delta("INSERT", "r", { at: "2026-01-01T00:00:00", must: "" }, hlc(), "docs"),
    "WrongType",
    /2026-01-31T08:00:00Z/,
  ],
  ["a 2 MB cell", delta("INSERT", "r", { title: "x".repeat(2 * 1024 * 1024) }), "CellTooLarge", /524288.*reference/],
  [
    "JSON nested 31 deep",
    delta("INSERT", "r", { body: JSON.parse(nested(31)), must: "" }, hlc(), "docs"),
    "CellTooLarge",
    /30 levels/,
  ],
  ["NULL where none may be", delta("INSERT", "r", { n: 1 }, hlc(), "docs"), "NotNull", /"must".*give it a value/],
  ["an empty row id", delta("INSERT", "", { title: "x" }), "BadRowId", /512 bytes/],
  ["a row id of 600 bytes", delta("INSERT", "x".repeat(600), { title: "x" }), "BadRowId", /512 bytes/],
  ["a row id with a control character", delta("INSERT", "a\u0000b", { title: "x" }), "BadRowId", /control/],
  ["no clock", delta("INSERT", "r", { title: "x" }, "0"), "BadHlc", /milliseconds/],
  ["a clock of 64 bits", delta("INSERT", "r", { title: "x" }, String(2n ** 63n)), "BadHlc", /63-bit/],
  [
    "a clock two minutes ahead",
    delta("INSERT", "r", { title: "x" }, hlc(0, Date.now() + 125_000)),
    "ClockDrift",
    /serverHlc/,
  ],
  [
    "a wrong id",
    { ...delta("INSERT", "r", { title: "x" }), deltaId: "0".repeat(64) },
    "DeltaIdMismatch",
    /leave it out/,
  ],
  ["an UPDATE of nothing", delta("UPDATE", "r"), "BadRequest", /names at least one column/],
  ["a DELETE with columns", delta("DELETE", "r", { title: "x" }), "BadRequest", /names no columns/],
];

test.each(REFUSALS)("[PU3] %s is refused by itself; its neighbours land", async (_, bad, code, remedy) => {
  const [before, after] = [`before-${++round}`, `after-${round}`];
  const { status, body } = await gateway.push("alice", "a1", [insert(before, "alice"), bad, insert(after, "alice")]);
  expect([status, body.acceptedCount, body.accepted?.length]).toEqual([200, 2, 2]);
  expect(body.rejected).toHaveLength(1);
  const [{ code: said, message, deltaId }] = body.rejected;
  expect(said).toBe(code);
  expect(message).toMatch(remedy);
  expect(message).toMatch(/[.]$/);
  expect(deltaId).toMatch(/^[0-9a-f]{64}$/);
  const rows = (await gateway.pull("alice", "", { tables: ["todos"], maxBytes: 4_000_000 })).body.rows as Json[];
  expect(rows.map((r) => r.rowId)).toEqual(expect.arrayContaining([before, after]));
});

test("[PU3] a row that grows past a megabyte is refused where it does", async () => {
  const big = "y".repeat(500_000);
  const columns = ["a", "b", "c"].map((name) => ({ name, type: "string" }));
  await gateway.putTable("big", columns);
  const push = async (column: string) =>
    (
      await gateway.request(await gateway.admin(), "POST", "/push", {
        clientId: "root-1",
        deltas: [delta(column === "a" ? "INSERT" : "UPDATE", "r", { [column]: big }, hlc(), "big")],
      })
    ).body;
  expect(await push("a")).toMatchObject({ acceptedCount: 1 });
  expect(await push("b")).toMatchObject({ acceptedCount: 1 });
  expect(await push("c")).toMatchObject({ rejected: [{ code: "RowTooLarge" }] });
});

test("[PU3] what JSON cannot say is refused by name, not with a crash", async () => {
  const value = { kind: { case: "numberValue" as const, value: Number.NaN } };
  const bytes = encodeBinary(proto.PushRequestSchema, {
    clientId: "a1",
    deltas: [{ op: proto.Op.INSERT, table: "docs", rowId: "nan", hlc: 5n, columns: [{ column: "n", value }] }],
  });
  const answer = await gateway.request(await gateway.token("alice"), "POST", "/push", bytes, {
    "content-type": PROTOBUF,
  });
  expect([answer.status, answer.body.error.code]).toEqual([400, "BadRequest"]);
  expect(answer.body.error.message).toContain('"n"');
});
