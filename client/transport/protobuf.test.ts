import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { proto } from "../../schemas/index.ts";
import { ERROR_BODY, FRAME, PULL_RESPONSE, PUSH_REQUEST } from "./codec.ts";
import { decode, encode } from "./protobuf.ts";

const text = fc.string({ unit: "grapheme", maxLength: 300 });
const bytes = fc.uint8Array({ maxLength: 300 });
const uint32 = fc.nat({ max: 2 ** 32 - 1 });
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const batch = fc.record({
  table: text,
  count: uint32,
  ops: text,
  rowIds: text,
  hlcs: bytes,
  clients: fc.array(text, { maxLength: 3 }),
  clientIndexes: text,
  columns: fc.array(fc.record({ name: text, values: text }), { maxLength: 3 }),
});
const push = fc.record({ clientId: text, batches: fc.array(batch, { maxLength: 3 }) });
const page = fc.record({
  cursor: text,
  hasMore: fc.boolean(),
  resync: fc.boolean(),
  serverHlc: uint64,
  batches: fc.array(batch, { maxLength: 3 }),
});

test("what the client writes, the gateway's runtime reads, byte for byte as it would write it", () => {
  fc.assert(
    fc.property(push, (message) => {
      const written = encode(PUSH_REQUEST, message);
      expect(written).toEqual(toBinary(proto.PushRequestSchema, create(proto.PushRequestSchema, message)));
      const { clientId, batches } = fromBinary(proto.PushRequestSchema, written);
      expect(decode(PUSH_REQUEST, written)).toEqual(message);
      expect([clientId, batches.length]).toEqual([message.clientId, message.batches.length]);
    }),
  );
});

test("what the gateway writes, the client reads", () => {
  fc.assert(
    fc.property(page, uint32, (message, id) => {
      const written = toBinary(
        proto.FrameSchema,
        create(proto.FrameSchema, { id, body: { case: "page", value: message } }),
      );
      expect(decode(FRAME, written)).toMatchObject({ id, page: message, poke: undefined, error: undefined, token: "" });
    }),
  );
});

test("an empty case of a oneof is written and read", () => {
  const frame = create(proto.FrameSchema, { id: 1, body: { case: "poke", value: { cursorHint: "" } } });
  expect(decode(FRAME, toBinary(proto.FrameSchema, frame)).poke).toEqual({ cursorHint: "" });
  expect(fromBinary(proto.FrameSchema, encode(FRAME, { id: 1, poke: { cursorHint: "" } }))).toEqual(frame);
});

test("fields that the client does not know are skipped", () => {
  const body = create(proto.ErrorBodySchema, { code: "LogFull", details: { a: { b: 1 } }, retryAfterSeconds: 5 });
  expect(decode(ERROR_BODY, toBinary(proto.ErrorBodySchema, body))).toEqual({
    code: "LogFull",
    message: "",
    retryAfterSeconds: 5,
  });
});

test("bytes that are no message are an error with a code, never anything else", () => {
  fc.assert(
    fc.property(bytes, (noise) => {
      try {
        decode(PULL_RESPONSE, noise);
      } catch (error) {
        expect(error).toMatchObject({ code: "Unavailable" });
      }
    }),
  );
});
