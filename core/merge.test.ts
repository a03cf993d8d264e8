/** Merging against the definitions: the row that a set of edits makes, whatever the order. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type ClientId,
  type Delta,
  type HlcText,
  makeStamp,
  packHlc,
  type Scalar,
  type Stamp,
} from "../schemas/index.ts";
import {
  applyCells,
  applyEdit,
  cloneRow,
  emptyRow,
  isAlive,
  merge,
  newestStamp,
  type RowState,
  showsEdit,
} from "./merge.ts";
import { rowOf, type StampedEdit } from "./testing/oracle.ts";
import { plainRow } from "./testing/shard-kit.ts";

const RUNS = { numRuns: 10_000 };

/** Few clocks, clients and columns: stamps collide, with the same and with other values. */
const value = fc.constantFrom<Scalar>(null, false, true, -1, 0, 7, "", "a", "\ud83d\ude00", "\uffff");
const edit: fc.Arbitrary<StampedEdit> = fc
  .record({
    letter: fc.constantFrom("I" as const, "U" as const, "D" as const),
    stamp: fc.tuple(fc.nat(5), fc.constantFrom("a", "b")).map(([ms, c]) => makeStamp(packHlc(ms, 0), c as ClientId)),
    columns: fc.dictionary(fc.constantFrom("p", "q", "constructor"), value, { maxKeys: 3, noNullPrototype: true }),
  })
  .map((e) => ({ ...e, row: "t/r", columns: e.letter === "D" ? {} : e.columns }));
const edits = fc.array(edit, { maxLength: 10 });

const letterAndStamp = (e: StampedEdit) => [e.letter, e.stamp as Stamp] as const;
function merged(list: readonly StampedEdit[], seqOf: (at: number) => number = () => 0): RowState {
  const row = emptyRow();
  for (const [at, e] of list.entries()) applyEdit(row, ...letterAndStamp(e), e.columns, seqOf(at));
  return row;
}

/** What a row is, without the order in which a shard met it. */
const canonical = (row: RowState) => ({
  alive: isAlive(row),
  inserted: row.inserted,
  deleted: row.deleted,
  cells: plainRow(row),
});

test("[M1] [M2] [M3] [M5] the row is what the definitions say of the set of edits, byte for byte in any order", () => {
  fc.assert(
    fc.property(edits, fc.infiniteStream(fc.nat()), (list, dice) => {
      const row = merged(list);
      const { alive, deleted, cells } = rowOf(list);
      expect(canonical(row)).toMatchObject({ alive, deleted });
      expect(plainRow(row)).toEqual(cells);
      const keyed = list.map((e) => ({ e, at: dice.next().value }));
      const shuffled = [...keyed, ...keyed.slice(0, 3)].sort((a, b) => a.at - b.at).map(({ e }) => e);
      // Without an order of arrival, as on a device, even the layers are the same.
      expect(sortKeys(merged(shuffled))).toBe(sortKeys(row));
      expect(canonical(merged(shuffled, (at) => at + 1))).toEqual(canonical(row));
    }),
    RUNS,
  );
});

/** The order in which an edit named its columns means nothing. */
const sortKeys = (row: RowState): string =>
  JSON.stringify({
    ...row,
    layers: row.layers.map(({ columns, values, ...layer }) => ({
      ...layer,
      cells: columns.map((column, k) => [column, values[k]]).sort(),
    })),
  });

test("[M1] applying an edit again changes nothing and says so; a change is said exactly when there is one", () => {
  fc.assert(
    fc.property(edits, edit, (list, e) => {
      const row = merged(list);
      const before = cloneRow(row);
      const changed = applyEdit(row, ...letterAndStamp(e), e.columns, 0);
      expect(changed).toBe(sortKeys(row) !== sortKeys(before));
      const after = cloneRow(row);
      expect(applyEdit(row, ...letterAndStamp(e), e.columns, 9)).toBe(false);
      expect(row).toEqual(after);
    }),
    RUNS,
  );
});

test("[M1] batching: what a shard merged one by one and what it was sent as layers is one row", () => {
  fc.assert(
    fc.property(edits, (list) => {
      const row = merged(list, (at) => at + 1);
      const copy = emptyRow();
      if (row.deleted) applyEdit(copy, "D", row.deleted, {}, 0);
      for (const layer of row.layers) applyCells(copy, "U", layer.stamp, layer, 0);
      if (row.inserted) applyEdit(copy, "I", row.inserted, {}, 0);
      expect(canonical(copy)).toEqual(canonical(row));
    }),
    RUNS,
  );
});

test("layers stay in order, are never empty, hold a cell once, and the newest stamp is the newest that shows", () => {
  fc.assert(
    fc.property(edits, (list) => {
      const row = merged(list, (at) => at + 1);
      const order = row.layers.map((l) => `${l.stamp} ${String(l.seq).padStart(3)}`);
      expect(order).toEqual(order.toSorted());
      expect(row.layers.every((l) => l.columns.length > 0 && l.values.length === l.columns.length)).toBe(true);
      const names = row.layers.flatMap((l) => l.columns);
      expect(new Set(names).size).toBe(names.length);
      const shown = list.map((e) => e.stamp as Stamp).filter((s) => showsEdit(row, s));
      expect(newestStamp(row)).toBe(shown.toSorted().at(-1) ?? "");
    }),
    RUNS,
  );
});

const delta = (op: Delta["op"], ms: number, clientId: string, columns: Delta["columns"] = {}) => ({
  op,
  hlc: packHlc(ms, 0) as HlcText,
  clientId: clientId as ClientId,
  columns,
});
const cellsOf = (row: RowState) => Object.fromEntries(Object.entries(plainRow(row)).map(([k, v]) => [k, v.value]));

test("[M2] alice edits the title, bob the status: both survive, in both orders", () => {
  const start = merge(undefined, delta("INSERT", 1, "alice", { title: "a", status: "open" }));
  const [alice, bob] = [delta("UPDATE", 2, "alice", { title: "b" }), delta("UPDATE", 2, "bob", { status: "done" })];
  for (const row of [merge(merge(start, alice), bob), merge(merge(start, bob), alice)])
    expect(cellsOf(row)).toEqual({ title: "b", status: "done" });
  expect(cellsOf(start)).toEqual({ title: "a", status: "open" }); // left as it was
});

test("[M3] a later update does not revive, a later insert does, and what was older than the delete stays gone", () => {
  let row = merge(undefined, delta("INSERT", 1, "a", { title: "x", note: "old" }));
  row = merge(row, delta("DELETE", 5, "b"));
  row = merge(row, delta("UPDATE", 7, "a", { title: "ghost" }));
  expect([isAlive(row), cellsOf(row)]).toEqual([false, { title: "ghost" }]);
  row = merge(row, delta("UPDATE", 3, "a", { note: "late" }));
  row = merge(row, delta("INSERT", 6, "a"));
  expect([isAlive(row), cellsOf(row)]).toEqual([true, { title: "ghost" }]);
});

test("[M5] NULL wins like any value, and a column that is not named keeps what it has", () => {
  let row = merge(undefined, delta("INSERT", 1, "a", { title: "x", note: "y" }));
  row = merge(row, delta("UPDATE", 2, "a", { title: null }));
  expect(cellsOf(row)).toEqual({ title: null, note: "y" });
});
