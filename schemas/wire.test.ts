/** Decoders take bytes from anyone: they answer, they never throw; what was encoded comes back. */
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ABSENT, batchDeltas, type Delta, deltasOf } from "./delta.ts";
import { type HlcText, hlcFromBigInt } from "./hlc.ts";
import { type ClientId, parseClientId } from "./ids.ts";
import { proto } from "./index.ts";
import { PUSH_DELTAS_MAX } from "./limits.ts";
import { decodeBatch } from "./packed-batch.ts";
import { decodeDelta, decodeMessage, encodeBatch, splitBatch } from "./wire.ts";

const RUNS = { numRuns: 10_000 };
const SCHEMAS = [proto.PushRequestSchema, proto.PullRequestSchema, proto.FrameSchema, proto.PullResponseSchema];

const hlc = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }).map((n) => hlcFromBigInt(n) as HlcText);
const scalar = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 5 }),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0),
  fc.boolean(),
  fc.constant(null),
);
const delta: fc.Arbitrary<Delta> = fc.record({
  op: fc.constantFrom("INSERT", "UPDATE", "DELETE"),
  table: fc.constantFrom("a", "b"),
  rowId: fc.constantFrom("1", "2", "é\u{1f600}"),
  hlc,
  clientId: fc.constantFrom("x", "y").map((c) => c as ClientId),
  columns: fc.dictionary(fc.constantFrom("p", "q", "constructor", "toString"), scalar, {
    maxKeys: 3,
    noNullPrototype: true,
  }),
});

test("a batch comes back from its message, from JSON and from bytes, as it was", () => {
  fc.assert(
    fc.property(fc.array(delta, { maxLength: 6 }), (deltas) => {
      for (const batch of batchDeltas(deltas)) {
        expect([...deltasOf(batch)]).toEqual(deltas.filter((d) => d.table === batch.table));
        const message = encodeBatch(batch);
        const bytes = decodeMessage(proto.DeltaBatchSchema, toBinary(proto.DeltaBatchSchema, message));
        const json = decodeMessage(proto.DeltaBatchSchema, toJsonString(proto.DeltaBatchSchema, message));
        for (const there of [bytes, json]) {
          const back = there.ok ? decodeBatch(there.value) : there;
          expect(back).toEqual({ ok: true, value: batch });
        }
      }
    }),
    RUNS,
  );
});

test("[PU4] a batch that is split has each entry once, in order", () => {
  fc.assert(
    fc.property(fc.array(delta, { maxLength: 8 }), (deltas) => {
      for (const batch of batchDeltas(deltas)) {
        const parts = splitBatch(batch, (rowId) => rowId);
        for (const [rowId, part] of parts)
          expect([...deltasOf(part)]).toEqual([...deltasOf(batch)].filter((d) => d.rowId === rowId));
        expect([...parts.values()].reduce((n, part) => n + part.rowIds.length, 0)).toBe(batch.rowIds.length);
      }
    }),
    RUNS,
  );
});

test("[S4] any bytes and any text are answered with a message or a BadRequest", () => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.json({ maxDepth: 3 }),
    fc.json().map((j) => `{"batches":[{"count":${j}}],"deltas":${j}}`),
  );
  fc.assert(
    fc.property(fc.constantFrom(...SCHEMAS), hostile, (schema, body) => {
      const result = decodeMessage<never>(schema as never, body);
      if (!result.ok) expect(result.error).toMatchObject({ code: "BadRequest" });
    }),
    RUNS,
  );
});

test("[S4] JSON that nests deeper than the stack is a BadRequest", () => {
  const deep = `${'{"json":'.repeat(200_000)}1${"}".repeat(200_000)}`;
  const body = `{"deltas":[{"op":"INSERT","columns":[{"column":"a","value":${deep}}]}]}`;
  expect(decodeMessage(proto.PushRequestSchema, body)).toMatchObject({ ok: false, error: { code: "BadRequest" } });
});

/** A message of a batch in which some fields are something else. */
const spoilt = fc.record(
  {
    count: fc.nat(3),
    ops: fc.constantFrom("", "I", "IU", "XX", "DR"),
    rowIds: fc.oneof(fc.json({ maxDepth: 1 }), fc.constantFrom("[]", '["a"]', '["a","b"]', "[1,2]", "{")),
    hlcs: fc.uint8Array({ minLength: 0, maxLength: 17 }),
    clients: fc.constantFrom<string[]>([], ["x"], ["x", "y"], ["bad id"], ["", ""]),
    clientIndexes: fc.oneof(
      fc.json({ maxDepth: 1 }),
      fc.constantFrom("[0,1]", "[0,2]", '["at","map"]', '["0",null]', "[0.5,-1]", "[[0],[1]]"),
    ),
    columns: fc.constantFrom<{ name: string; values: string }[]>(
      [],
      [{ name: "a", values: "[1,[]]" }],
      [{ name: "a", values: "7" }],
    ),
  },
  { requiredKeys: [] },
);
const sound = {
  table: "t",
  count: 2,
  ops: "IU",
  rowIds: '["a","b"]',
  hlcs: new Uint8Array(16),
  clients: ["x", "y"],
  clientIndexes: "[0,1]",
  columns: [{ name: "a", values: "[1,[]]" }],
};

test("[PU3] a batch of the wrong shape is refused; one that passes names a client and a value for each entry", () => {
  fc.assert(
    fc.property(spoilt, (wrong) => {
      const result = decodeBatch(create(proto.DeltaBatchSchema, { ...sound, ...wrong }), parseClientId("me"));
      if (!result.ok) {
        expect(result.error).toMatchObject({ code: "BadRequest" });
        return;
      }
      const { value: batch } = result;
      const count = wrong.count ?? 2;
      expect([batch.ops.length, batch.rowIds.length, batch.hlcs.length]).toEqual([count, count, count]);
      for (const { values } of batch.columns) expect(values).toHaveLength(count);
      for (const { clientId, rowId } of deltasOf(batch)) {
        expect(["x", "y", "me"]).toContain(clientId);
        expect(typeof rowId).toBe("string");
      }
    }),
    RUNS,
  );
});

test("a batch that is too long, names a column twice, or has no client is refused", () => {
  const decode = (change: object) => decodeBatch(create(proto.DeltaBatchSchema, { ...sound, ...change }));
  expect(decode({})).toMatchObject({ ok: true, value: { columns: [{ values: [1, ABSENT] }] } });
  expect(decode({ count: PUSH_DELTAS_MAX + 1 })).toMatchObject({ error: { code: "TooLarge" } });
  expect(decode({ columns: [...sound.columns, ...sound.columns] })).toMatchObject({ error: { code: "BadRequest" } });
  expect(decode({ clients: [] })).toMatchObject({ error: { code: "BadRequest" } });
  for (const clientIndexes of ['["at","map"]', '["length","length"]', "[0,2]", "[0.5,1]", "[0]", "{}", ""])
    expect(decode({ clientIndexes })).toMatchObject({ error: { code: "BadRequest" } });
});

test("a delta without an op is refused, and 64 bits of clock survive", () => {
  const message = create(proto.DeltaSchema, { table: "t", rowId: "a", hlc: 2n ** 63n - 1n });
  expect(decodeDelta(message)).toMatchObject({ error: { code: "BadRequest" } });
  expect(decodeDelta({ ...message, op: proto.Op.DELETE })).toMatchObject({
    value: { letter: "D", hlc: "7fffffffffffffff", columns: [] },
  });
});
