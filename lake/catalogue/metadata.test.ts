/** What metadata becomes, decided without a store. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { TableMetadata, TableUpdate } from "../../core/index.ts";
import { unwrap } from "../../schemas/index.ts";
import { parseJson, stringifyJson } from "./json.ts";
import { checkRequirements, newTableMetadata, parseTableMetadata, withRefSnapshotsOnly } from "./metadata.ts";
import { applyUpdates } from "./updates.ts";

const UUID = "0b7e4a52-6f0e-4a37-9a53-0d2a3c1f9e11";
const column = (id: number, name: string, type: unknown = "long", required = false) => ({ id, name, type, required });
const schema = (...fields: ReturnType<typeof column>[]) => ({ type: "struct", "schema-id": 0, fields }) as never;

const begin = (properties: Record<string, string> = {}): TableMetadata =>
  unwrap(
    newTableMetadata(
      { schema: schema(column(1, "id", "string", true), column(2, "n")), properties },
      { uuid: UUID, location: "s3://bucket/demo/t", nowMs: 1000 },
    ),
  );

const snapshot = (id: number | bigint, seq: number, timestampMs = 2000, parent?: number | bigint) => ({
  "snapshot-id": id,
  ...(parent === undefined ? {} : { "parent-snapshot-id": parent }),
  "sequence-number": seq,
  "timestamp-ms": timestampMs,
  "manifest-list": `s3://bucket/demo/t/metadata/snap-${id}.avro`,
  summary: { operation: "append" },
});
const append = (id: number | bigint, seq: number, timestampMs?: number): TableUpdate[] => [
  { action: "add-snapshot", snapshot: snapshot(id, seq, timestampMs) },
  { action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": id },
];
const apply = (base: TableMetadata | null, updates: TableUpdate[], nowMs = 5000, baseLocation = "s3://m/0.json") =>
  applyUpdates(base, updates, { nowMs, baseLocation });
const codeOf = (result: { ok: boolean; error?: { code: string } }) => (result.ok ? "ok" : result.error?.code);

describe("JSON without loss", () => {
  test("[L1] every 64-bit integer survives parse and serialise, safe ones as numbers", () => {
    fc.assert(
      fc.property(
        fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
        fc.string(),
        fc.double({ noNaN: true }),
        (id, text, real) => {
          const source = `{"id":${id},"s":${JSON.stringify(text)},"d":[${JSON.stringify(real)}]}`;
          const value = parseJson(source) as { id: number | bigint };
          expect(typeof value.id).toBe(Number.isSafeInteger(Number(id)) ? "number" : "bigint");
          expect(stringifyJson(value)).toBe(JSON.stringify(JSON.parse(source)).replace(/"id":[^,]*,/, `"id":${id},`));
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("a table begins", () => {
  test("[L1] the client's field ids are kept when they count from 1, and given afresh when they do not", () => {
    expect(begin().schemas[0]?.fields.map((f) => f.id)).toEqual([1, 2]);
    const fromZero = unwrap(
      newTableMetadata(
        {
          schema: schema(
            column(0, "a", { type: "struct", fields: [column(2, "x"), column(3, "y")] }),
            column(1, "b", {
              type: "map",
              "key-id": 4,
              key: "string",
              "value-id": 5,
              "value-required": false,
              value: "int",
            }),
          ),
          partitionSpec: { "spec-id": 0, fields: [{ "source-id": 2, name: "x16", transform: "bucket[16]" } as never] },
        },
        { uuid: UUID, location: "s3://b/t", nowMs: 1 },
      ),
    );
    expect(fromZero["last-column-id"]).toBe(6);
    expect(fromZero.schemas[0]?.fields.map((f) => f.id)).toEqual([1, 2]);
    expect(fromZero["partition-specs"]).toEqual([
      { "spec-id": 0, fields: [{ "source-id": 3, "field-id": 1000, name: "x16", transform: "bucket[16]" }] },
    ]);
    expect(fromZero["last-partition-id"]).toBe(1000);
  });

  test("[L1] reserved properties are not kept, and choose the format version", () => {
    expect(begin({ "format-version": "2", owner: "x" }).properties).toEqual({ owner: "x" });
    expect(begin({ "format-version": "3" })).toMatchObject({ "format-version": 3, "next-row-id": 0 });
    const old = { schema: schema(column(1, "a")), properties: { "format-version": "1" } };
    expect(codeOf(newTableMetadata(old, { uuid: UUID, location: "s3://b/t", nowMs: 1 }))).toBe("BadRequest");
  });

  test.each([
    ["duplicate ids", schema(column(1, "a"), column(1, "b"))],
    ["duplicate names", schema(column(1, "a"), column(2, "a"))],
    ["unknown type", schema(column(1, "a", "varchar"))],
    ["a type of version 3", schema(column(1, "a", "timestamp_ns"))],
    ["no fields", { type: "struct", "schema-id": 0 } as never],
    [
      "a float identifier",
      { ...(schema(column(1, "a", "float", true)) as object), "identifier-field-ids": [1] } as never,
    ],
    ["an optional identifier", { ...(schema(column(1, "a")) as object), "identifier-field-ids": [1] } as never],
  ])("[S4] a schema with %s is refused", (_what, bad) => {
    expect(codeOf(newTableMetadata({ schema: bad }, { uuid: UUID, location: "s3://b/t", nowMs: 1 }))).toBe(
      "BadRequest",
    );
  });

  test("[S4] a type nested without end is refused, not a crash", () => {
    let type: unknown = "int";
    for (let i = 0; i < 5000; i += 1)
      type = { type: "list", "element-id": i + 2, "element-required": false, element: type };
    const result = newTableMetadata(
      { schema: schema(column(1, "a", type)) },
      { uuid: UUID, location: "s3://b/t", nowMs: 1 },
    );
    expect(codeOf(result)).toBe("BadRequest");
  });

  test("[L1] a create transaction builds the same table from updates alone", () => {
    const made = begin();
    const updates: TableUpdate[] = [
      { action: "assign-uuid", uuid: UUID },
      { action: "upgrade-format-version", "format-version": 2 },
      { action: "add-schema", schema: made.schemas[0] },
      { action: "set-current-schema", "schema-id": -1 },
      { action: "add-spec", spec: { "spec-id": 0, fields: [] } },
      { action: "set-default-spec", "spec-id": -1 },
      { action: "add-sort-order", "sort-order": { "order-id": 0, fields: [] } },
      { action: "set-default-sort-order", "sort-order-id": -1 },
      { action: "set-location", location: "s3://bucket/demo/t/" },
    ];
    expect(unwrap(applyUpdates(null, updates, { nowMs: 1000 }))).toEqual(made);
    expect(codeOf(applyUpdates(null, updates.slice(1), { nowMs: 1 }))).toBe("BadRequest");
    expect(codeOf(applyUpdates(null, updates.slice(0, -1), { nowMs: 1 }))).toBe("BadRequest");
  });
});

describe("requirements", () => {
  const table = unwrap(apply(begin(), append(2n ** 60n + 1n, 1)));
  test.each([
    [{ type: "assert-create" }],
    [{ type: "assert-table-uuid", uuid: UUID.replace("0", "1") }],
    [{ type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": null }],
    [{ type: "assert-ref-snapshot-id", ref: "main" }],
    [{ type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": 2n ** 60n }],
    [{ type: "assert-ref-snapshot-id", ref: "audit", "snapshot-id": 5 }],
    [{ type: "assert-last-assigned-field-id", "last-assigned-field-id": 1 }],
    [{ type: "assert-current-schema-id", "current-schema-id": 1 }],
    [{ type: "assert-last-assigned-partition-id", "last-assigned-partition-id": 1000 }],
    [{ type: "assert-default-spec-id", "default-spec-id": 1 }],
    [{ type: "assert-default-sort-order-id", "default-sort-order-id": 1 }],
  ])("[L2] %o does not hold: a conflict", (requirement) => {
    expect(codeOf(checkRequirements(table, [requirement]))).toBe("CommitConflict");
  });

  test("[L2] those that hold pass; without a table only assert-create does; unknown ones are refused", () => {
    const holds = [
      { type: "assert-table-uuid", uuid: UUID.toUpperCase() },
      { type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": 2n ** 60n + 1n },
      { type: "assert-ref-snapshot-id", ref: "audit", "snapshot-id": null },
      { type: "assert-last-assigned-field-id", "last-assigned-field-id": 2 },
      { type: "assert-current-schema-id", "current-schema-id": 0 },
      { type: "assert-last-assigned-partition-id", "last-assigned-partition-id": 999 },
      { type: "assert-default-spec-id", "default-spec-id": 0 },
      { type: "assert-default-sort-order-id", "default-sort-order-id": 0 },
    ];
    expect(codeOf(checkRequirements(table, holds))).toBe("ok");
    expect(codeOf(checkRequirements(null, [{ type: "assert-create" }]))).toBe("ok");
    for (const requirement of holds) expect(codeOf(checkRequirements(null, [requirement]))).toBe("CommitConflict");
    expect(codeOf(checkRequirements(table, [{ type: "assert-weather" }]))).toBe("BadRequest");
    expect(codeOf(checkRequirements(table, [{ type: "assert-table-uuid" }]))).toBe("BadRequest");
  });
});

describe("updates", () => {
  test("[L1] a snapshot moves sequence number, current snapshot, logs and time together", () => {
    const one = unwrap(apply(begin(), append(7, 1, 2000)));
    expect(one).toMatchObject({
      "last-sequence-number": 1,
      "current-snapshot-id": 7,
      "last-updated-ms": 5000,
      refs: { main: { "snapshot-id": 7, type: "branch" } },
      "snapshot-log": [{ "snapshot-id": 7, "timestamp-ms": 2000 }],
      "metadata-log": [{ "metadata-file": "s3://m/0.json", "timestamp-ms": 1000 }],
    });
    // A clock that steps back, and a writer whose clock is behind: the logs stay in order.
    const two = unwrap(apply(one, append(8, 2, 1500), 100, "s3://m/1.json"));
    expect(two["last-updated-ms"]).toBe(5000);
    expect(two["snapshot-log"]?.map((entry) => entry["timestamp-ms"])).toEqual([2000, 2000]);
    expect(two["metadata-log"]?.map((entry) => entry["timestamp-ms"])).toEqual([1000, 5000]);
  });

  test("[L2] a snapshot with an old sequence number, or one that is there already, is a conflict", () => {
    const one = unwrap(apply(begin(), append(7, 1)));
    expect(codeOf(apply(one, append(8, 1)))).toBe("CommitConflict");
    expect(codeOf(apply(one, append(7, 2)))).toBe("CommitConflict");
    expect(
      codeOf(apply(one, [{ action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": 9 }])),
    ).toBe("CommitConflict");
  });

  test("several snapshots in one commit leave one log entry; a rollback counts from now", () => {
    const both = unwrap(apply(begin(), [...append(7, 1), ...append(8, 2)]));
    expect(both["snapshot-log"]).toEqual([{ "snapshot-id": 8, "timestamp-ms": 2000 }]);
    const back = [{ action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": 7 }];
    const rolled = unwrap(apply(both, back, 9000));
    expect(rolled["snapshot-log"]?.at(-1)).toEqual({ "snapshot-id": 7, "timestamp-ms": 9000 });
    expect(unwrap(apply(rolled, back, 9500))["snapshot-log"]).toHaveLength(2);
  });

  test("removing a snapshot that a ref names is a conflict; removing another cuts the log behind it", () => {
    const three = unwrap(apply(begin(), append(7, 1)));
    const more = unwrap(apply(unwrap(apply(three, append(8, 2))), append(9, 3)));
    const remove = (ids: number[]) => ({ action: "remove-snapshots", "snapshot-ids": ids });
    expect(codeOf(apply(more, [remove([9])]))).toBe("CommitConflict");
    const tag = { action: "set-snapshot-ref", "ref-name": "keep", type: "tag", "snapshot-id": 7 };
    const tagged = unwrap(apply(more, [tag]));
    expect(codeOf(apply(tagged, [remove([7])]))).toBe("CommitConflict");
    const untagged = unwrap(apply(tagged, [remove([7]), { action: "remove-snapshot-ref", "ref-name": "keep" }]));
    expect(untagged.snapshots?.map((s) => s["snapshot-id"])).toEqual([8, 9]);
    expect(unwrap(apply(more, [remove([8])]))["snapshot-log"]?.map((e) => e["snapshot-id"])).toEqual([9]);
  });

  test("[L4] schemas: a new one gets the next id, an equal one is found again, the current one cannot go", () => {
    const wide = {
      ...(schema(column(1, "id", "string", true), column(2, "n"), column(3, "note", "string")) as object),
    };
    const grown = unwrap(
      apply(begin(), [
        { action: "add-schema", schema: { ...wide, "schema-id": 77 } },
        { action: "set-current-schema", "schema-id": -1 },
      ]),
    );
    expect(grown).toMatchObject({ "current-schema-id": 1, "last-column-id": 3 });
    const back = unwrap(
      apply(grown, [
        { action: "add-schema", schema: begin().schemas[0] },
        { action: "set-current-schema", "schema-id": -1 },
      ]),
    );
    expect(back).toMatchObject({ "current-schema-id": 0, "last-column-id": 3 });
    expect(back.schemas).toHaveLength(2);
    expect(codeOf(apply(back, [{ action: "remove-schemas", "schema-ids": [0] }]))).toBe("BadRequest");
    expect(unwrap(apply(back, [{ action: "remove-schemas", "schema-ids": [1] }])).schemas).toHaveLength(1);
    expect(codeOf(apply(back, [{ action: "set-current-schema", "schema-id": 5 }]))).toBe("BadRequest");
    expect(codeOf(apply(back, [{ action: "set-current-schema", "schema-id": -1 }]))).toBe("BadRequest");
  });

  test("[L1] specs and sort orders: ids are given, equivalent ones found again, wrong ones refused", () => {
    const add = (fields: object[]) => ({ action: "add-spec", spec: { fields } });
    const bucket = { "source-id": 1, name: "id_bucket", transform: "bucket[4]" };
    const use = { action: "set-default-spec", "spec-id": -1 };
    const one = unwrap(apply(begin(), [add([bucket]), use]));
    expect(one).toMatchObject({ "default-spec-id": 1, "last-partition-id": 1000 });
    const two = unwrap(apply(one, [add([{ "source-id": 2, name: "n", transform: "identity" }, bucket]), use]));
    expect(two["partition-specs"].at(-1)?.fields.map((f) => f["field-id"])).toEqual([1001, 1000]);
    expect(unwrap(apply(two, [add([bucket]), use]))).toMatchObject({ "default-spec-id": 1, "last-partition-id": 1001 });
    for (const bad of [
      { ...bucket, "source-id": 9 },
      { ...bucket, transform: "bucket[0]" },
      { ...bucket, transform: "soundex" },
      { ...bucket, name: "n" },
      { ...bucket, "field-id": 1001 },
    ]) {
      expect([bad, codeOf(apply(two, [add([bad])]))]).toEqual([bad, "BadRequest"]);
    }
    const order = { "source-id": 2, transform: "identity", direction: "asc", "null-order": "nulls-first" };
    const sorted = unwrap(
      apply(two, [
        { action: "add-sort-order", "sort-order": { "order-id": 1, fields: [order] } },
        { action: "set-default-sort-order", "sort-order-id": -1 },
      ]),
    );
    expect(sorted).toMatchObject({ "default-sort-order-id": 1 });
    expect(codeOf(apply(sorted, [{ action: "remove-partition-specs", "spec-ids": [2] }]))).toBe("BadRequest");
    expect(
      unwrap(apply(sorted, [{ action: "remove-partition-specs", "spec-ids": [1] }]))["partition-specs"],
    ).toHaveLength(2);
  });

  test("[L1] properties, location, statistics", () => {
    const file = { "snapshot-id": 7, "statistics-path": "s3://b/x.puffin", "blob-metadata": [] };
    const set = unwrap(
      apply(unwrap(apply(begin({ a: "1", b: "2" }), append(7, 1))), [
        { action: "set-properties", updates: { b: "3", c: "4" } },
        { action: "remove-properties", removals: ["a", "never"] },
        { action: "set-location", location: "s3://bucket/demo/u" },
        { action: "set-statistics", "snapshot-id": 7, statistics: file },
        { action: "set-partition-statistics", "partition-statistics": { "snapshot-id": 7 } },
      ]),
    );
    expect(set).toMatchObject({ properties: { b: "3", c: "4" }, location: "s3://bucket/demo/u", statistics: [file] });
    const gone = unwrap(
      apply(set, [
        { action: "remove-statistics", "snapshot-id": 7 },
        { action: "remove-partition-statistics", "snapshot-id": 7 },
      ]),
    );
    expect(gone).toMatchObject({ statistics: [], "partition-statistics": [] });
  });

  test("[L1] the metadata log is bounded by the table's property", () => {
    let table = begin({ "write.metadata.previous-versions-max": "3" });
    for (let i = 0; i < 6; i += 1) table = unwrap(apply(table, [], 2000 + i, `s3://m/${i}.json`));
    expect(table["metadata-log"]?.map((entry) => entry["metadata-file"])).toEqual([
      "s3://m/3.json",
      "s3://m/4.json",
      "s3://m/5.json",
    ]);
  });

  test("[L1] format version 3 hands out row ids; going back is refused", () => {
    const three = unwrap(apply(begin(), [{ action: "upgrade-format-version", "format-version": 3 }]));
    const rows = (first?: number) => ({ ...snapshot(7, 1), "first-row-id": first, "added-rows": 10 });
    const added = unwrap(apply(three, [{ action: "add-snapshot", snapshot: rows(0) }]));
    expect(added["next-row-id"]).toBe(10);
    expect(codeOf(apply(three, [{ action: "add-snapshot", snapshot: rows() }]))).toBe("BadRequest");
    const late = { ...snapshot(8, 2), "first-row-id": 5, "added-rows": 1 };
    expect(codeOf(apply(added, [{ action: "add-snapshot", snapshot: late }]))).toBe("CommitConflict");
    expect(codeOf(apply(three, [{ action: "upgrade-format-version", "format-version": 2 }]))).toBe("BadRequest");
  });

  test("[S4] unknown updates and wrong members are refused", () => {
    for (const update of [
      { action: "drop-everything" },
      { action: "add-snapshot" },
      { action: "add-snapshot", snapshot: { ...snapshot(7, 1), "snapshot-id": "7" } },
      { action: "set-properties", updates: { a: 1 } },
      { action: "assign-uuid", uuid: UUID.replace("0", "1") },
      { action: "set-snapshot-ref", "ref-name": "main", type: "leaf", "snapshot-id": 7 },
    ]) {
      expect([update, codeOf(apply(begin(), [update]))]).toEqual([update, "BadRequest"]);
    }
  });
});

describe("any history", () => {
  const change = fc.oneof(
    fc.record({ kind: fc.constant("append" as const), step: fc.integer({ min: -50, max: 50 }) }),
    fc.record({ kind: fc.constant("rollback" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("expire" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("tag" as const), pick: fc.nat(), name: fc.constantFrom("a", "b", "constructor") }),
    fc.record({ kind: fc.constant("column" as const) }),
    fc.record({ kind: fc.constant("limit" as const), max: fc.integer({ min: -1, max: 4 }) }),
  );

  test("[L1] keeps metadata valid, and equal after a round trip through its file", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 25 }), (changes) => {
        let table = begin();
        let now = 10_000;
        let nextSnapshot = 2n ** 62n;
        for (const [i, step] of changes.entries()) {
          const ids = (table.snapshots ?? []).map((s) => s["snapshot-id"]);
          const picked = "pick" in step ? ids[step.pick % Math.max(1, ids.length)] : undefined;
          const updates: TableUpdate[] = [];
          if (step.kind === "append") {
            now += step.step;
            nextSnapshot += 1n;
            updates.push(...append(nextSnapshot, table["last-sequence-number"] + 1, now + step.step));
          } else if (step.kind === "column") {
            const id = table["last-column-id"] + 1;
            const fields = [...(table.schemas.at(-1)?.fields ?? []), column(id, `c${id}`)];
            updates.push({ action: "add-schema", schema: { type: "struct", fields } });
            updates.push({ action: "set-current-schema", "schema-id": -1 });
          } else if (step.kind === "limit") {
            updates.push({
              action: "set-properties",
              updates: { "write.metadata.previous-versions-max": `${step.max}` },
            });
          } else if (picked !== undefined && step.kind === "expire") {
            updates.push({ action: "remove-snapshots", "snapshot-ids": [picked] });
          } else if (picked !== undefined) {
            const [name, type] = step.kind === "tag" ? [step.name, "tag"] : ["main", "branch"];
            updates.push({ action: "set-snapshot-ref", "ref-name": name, type, "snapshot-id": picked });
          }
          const result = applyUpdates(table, updates, { nowMs: now, baseLocation: `s3://m/${i}.json` });
          if (!result.ok) expect(result.error.code).toBe("CommitConflict");
          else table = result.value;
          checkInvariants(table);
        }
        expect(unwrap(parseTableMetadata(stringifyJson(table)))).toEqual(table);
        const refs = new Set(Object.values(table.refs ?? {}).map((ref) => ref["snapshot-id"]));
        expect(new Set(withRefSnapshotsOnly(table).snapshots?.map((s) => s["snapshot-id"]))).toEqual(refs);
      }),
      { numRuns: 500 },
    );
  });

  /** What readers check when they open a table (table spec, "Table Metadata Fields"). */
  function checkInvariants(table: TableMetadata): void {
    const ids = (table.snapshots ?? []).map((s) => s["snapshot-id"]);
    expect(new Set(ids).size).toBe(ids.length);
    expect(table["current-snapshot-id"]).toBe(table.refs?.main?.["snapshot-id"]);
    for (const ref of Object.values(table.refs ?? {})) expect(ids).toContain(ref["snapshot-id"]);
    const sequences = (table.snapshots ?? []).map((s) => s["sequence-number"]);
    expect(Math.max(0, ...sequences)).toBeLessThanOrEqual(table["last-sequence-number"]);
    for (const log of [table["snapshot-log"] ?? [], table["metadata-log"] ?? []]) {
      const times = log.map((entry) => entry["timestamp-ms"]);
      expect(times).toEqual([...times].sort((a, b) => a - b));
      expect(times.at(-1) ?? 0).toBeLessThanOrEqual(table["last-updated-ms"]);
    }
    for (const entry of table["snapshot-log"] ?? []) expect(ids).toContain(entry["snapshot-id"]);
    if (table["current-snapshot-id"] !== undefined) {
      expect(table["snapshot-log"]?.at(-1)?.["snapshot-id"]).toBe(table["current-snapshot-id"]);
    }
    const highest = table.schemas.flatMap((s) => s.fields.map((f) => f.id)).reduce((a, b) => Math.max(a, b), 0);
    expect(highest).toBe(table["last-column-id"]);
    expect(table.schemas.some((s) => s["schema-id"] === table["current-schema-id"])).toBe(true);
  }
});

describe("reading metadata files", () => {
  test.each([
    ["no JSON", "{"],
    ["an array", "[]"],
    ["version 1", stringifyJson({ ...begin(), "format-version": 1 })],
    ["no schemas", stringifyJson({ ...begin(), schemas: [] })],
    ["a lost schema", stringifyJson({ ...begin(), "current-schema-id": 4 })],
    ["a lost snapshot", stringifyJson({ ...begin(), refs: { main: { "snapshot-id": 4, type: "branch" } } })],
  ])("[S4] %s is Corrupt", (_what, text) => {
    expect(codeOf(parseTableMetadata(text))).toBe("Corrupt");
  });
});
