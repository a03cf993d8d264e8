import fc from "fast-check";
import { expect, test } from "vitest";
import { AvroReader, AvroWriter } from "./binary.ts";
import { type AvroSchema, readAvro, writeAvro } from "./index.ts";
import { avroCodec } from "./schema.ts";

const SCHEMA: AvroSchema = {
  type: "record",
  name: "outer",
  fields: [
    { name: "id", type: "long" },
    { name: "maybe", type: ["null", "string"], default: null },
    { name: "list", type: { type: "array", items: "int" } },
    { name: "map", type: { type: "map", values: "double" } },
    { name: "inner", type: { type: "record", name: "inner", fields: [{ name: "flag", type: "boolean" }] } },
    { name: "again", type: ["null", "inner"], default: null },
    { name: "hash", type: { type: "fixed", name: "four", size: 4 } },
    {
      name: "byId",
      type: {
        type: "array",
        logicalType: "map",
        items: {
          type: "record",
          name: "k1_v2",
          fields: [
            { name: "key", type: "int" },
            { name: "value", type: "bytes" },
          ],
        },
      },
    },
  ],
};

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const record = fc.record({
  id: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((big) => {
    const number = Number(big);
    return Number.isSafeInteger(number) ? number : big;
  }),
  maybe: fc.option(fc.string({ unit: "grapheme" })),
  list: fc.array(fc.integer()),
  map: fc.array(fc.tuple(fc.string(), fc.double({ noNaN: true }))).map((pairs) => new Map(pairs)),
  inner: fc.record({ flag: fc.boolean() }),
  again: fc.option(fc.record({ flag: fc.boolean() })),
  hash: bytes(4),
  byId: fc.array(fc.tuple(fc.integer(), fc.uint8Array({ maxLength: 20 }))).map((pairs) => new Map(pairs)),
});

test("[L1] records of every shape come back from an Avro file as they went in, 64-bit numbers included", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(record, { maxLength: 20 }), async (records) => {
      const file = await readAvro(await writeAvro(SCHEMA, records, { "format-version": "2" }));
      expect(file.metadata.get("format-version")).toBe("2");
      expect(file.records).toEqual(records);
    }),
    { numRuns: 100 },
  );
});

test("longs are written as the specification's own examples have them", () => {
  const encode = (value: number | bigint) => {
    const out = new AvroWriter();
    out.long(value);
    return [...out.done()];
  };
  expect(encode(0)).toEqual([0]);
  expect(encode(-1)).toEqual([1]);
  expect(encode(1)).toEqual([2]);
  expect(encode(-64)).toEqual([0x7f]);
  expect(encode(64)).toEqual([0x80, 0x01]);
  expect(encode(2n ** 63n - 1n)).toEqual([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
  expect(new AvroReader(new Uint8Array(encode(-(2n ** 63n)))).long()).toBe(-(2n ** 63n));
});

test("an array in blocks with byte sizes, as Java writes them, is read", () => {
  const out = new AvroWriter();
  for (const value of [-2, 2, 7, 8, 1, 9, 0]) out.long(value);
  const codec = avroCodec({ type: "array", items: "int" });
  expect(codec.read(new AvroReader(out.done()))).toEqual([7, 8, 9]);
});

test("the same records are the same bytes, and many records make several blocks", async () => {
  const schema: AvroSchema = { type: "record", name: "r", fields: [{ name: "s", type: "string" }] };
  const records = Array.from({ length: 20_000 }, (_, i) => ({ s: `record number ${i}` }));
  const once = await writeAvro(schema, records);
  expect(await writeAvro(schema, records)).toEqual(once);
  expect((await readAvro(once)).records).toEqual(records);
});

test("a file that is cut short or no Avro at all is Corrupt", async () => {
  const schema: AvroSchema = { type: "record", name: "r", fields: [{ name: "s", type: "string" }] };
  const file = await writeAvro(schema, [{ s: "x" }]);
  await expect(readAvro(file.slice(0, -20))).rejects.toMatchObject({ code: "Corrupt" });
  await expect(readAvro(new Uint8Array([1, 2, 3, 4]))).rejects.toMatchObject({ code: "Corrupt" });
});
