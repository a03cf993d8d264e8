import { expect, test } from "vitest";
import { type ClientId, type DeltaBatch, makeStamp, packHlc } from "../../schemas/index.ts";
import { LocalDB } from "../index.ts";
import { applyBatch } from "./apply.ts";
import { keep, mergeEdits, stateOf, UNKNOWN_ROW, undo, visibleOf } from "./rows.ts";
import { Sweep } from "./sweep.ts";

const stamp = (ms: number, client = "a") => makeStamp(packHlc(ms, 0), client as ClientId);
const hlc = (ms: number) => packHlc(ms, 0);
const me = "me" as ClientId;

test("[M5] a cell that was set to NULL keeps its stamp, one that was never written has none", () => {
  const state = stateOf(UNKNOWN_ROW, undefined);
  mergeEdits(state, [{ letter: "I", stamp: stamp(5), cells: { title: "x", done: null } }]);
  const kept = keep(state, false);
  expect(kept).toEqual({ ins: stamp(5), del: "", cells: { done: stamp(5) }, base: undefined });
  const again = stateOf(kept as NonNullable<typeof kept>, { title: "x", done: null, rank: null });
  mergeEdits(again, [{ letter: "U", stamp: stamp(3), cells: { done: true, rank: 1, title: "old" } }]);
  expect(visibleOf(again, [], me)).toEqual({ title: "x", done: null, rank: 1 });
});

test("[C4] a waiting edit stays on top of an older page, and yields to a newer one", () => {
  const state = stateOf(UNKNOWN_ROW, undefined);
  mergeEdits(state, [
    { letter: "I", stamp: stamp(1), cells: { title: "a", done: false } },
    { letter: "U", stamp: stamp(9), cells: { done: true } },
  ]);
  const pending = [{ letter: "U" as const, hlc: hlc(5), cells: { title: "mine", done: false }, old: undefined }];
  expect(visibleOf(state, pending, me)).toEqual({ title: "mine", done: true });
  expect(keep(state, true)?.base).toEqual({ title: "a", done: true });
});

test("[M3] a row that was deleted elsewhere does not come back by a waiting update, but by a waiting insert", () => {
  const state = stateOf(UNKNOWN_ROW, undefined);
  mergeEdits(state, [
    { letter: "I", stamp: stamp(1), cells: { title: "a" } },
    { letter: "D", stamp: stamp(4), cells: {} },
    { letter: "U", stamp: stamp(6), cells: { done: true } },
  ]);
  const update = { letter: "U" as const, hlc: hlc(5), cells: { title: "b" }, old: { title: "a" } };
  const insert = { letter: "I" as const, hlc: hlc(7), cells: { title: "c" }, old: undefined };
  expect(visibleOf(state, [update], me)).toBeUndefined();
  expect(visibleOf(state, [update, insert], me)).toEqual({ title: "c", done: true });
  expect(keep(state, false)).toMatchObject({ del: stamp(4), base: { done: true } });
});

test("what waiting edits replaced gives back the row before them", () => {
  const insert = { letter: "I" as const, hlc: hlc(1), cells: { a: 1 }, old: undefined };
  const update = { letter: "U" as const, hlc: hlc(2), cells: { a: 2 }, old: { a: 1 } };
  const remove = { letter: "D" as const, hlc: hlc(3), cells: {}, old: { a: 2, b: 9 } };
  expect(undo({ a: 2, b: 9 }, [update])).toEqual({ a: 1, b: 9 });
  expect(undo(undefined, [update, remove])).toEqual({ a: 1, b: 9 });
  expect(undo({ a: 2 }, [insert, update])).toBeUndefined();
});

test("[PL5] a row that a resync brings replaces what was known, even where that has newer stamps", async () => {
  const db = await LocalDB.open({ name: "s", backend: "memory", schema: { todos: { title: { type: "string" } } } });
  const batch = (ms: number, title: string): DeltaBatch => ({
    table: "todos",
    ops: "I",
    rowIds: ["1"],
    hlcs: [hlc(ms)],
    clients: ["a" as ClientId],
    columns: [{ name: "title", values: [title] }],
  });
  const { clientId } = db;
  await db.applyRemote((tx) => applyBatch({ tx, clientId }, batch(9, "of a gateway that was lost")));
  await db.applyRemote(async (tx) => {
    const sweep = (await Sweep.begin(tx)) as Sweep;
    await applyBatch({ tx, clientId, sweep }, batch(5, "rebuilt"));
    await sweep.finish({ tx, clientId, sweep });
  });
  expect(await db.query("SELECT title FROM todos")).toEqual([{ title: "rebuilt" }]);
  await db.close();
});
