/**
 * Avro object container files (Avro 1.11 specification, "Object Container Files"):
 *
 *   "Obj" 1 | map of metadata | sync marker | blocks of (count, bytes, compressed records, sync marker)
 *
 * Codecs `null` and `deflate`, by the platform's own compression streams.
 */
import { LakeSyncError } from "../../schemas/index.ts";
import { AvroReader, AvroWriter } from "./binary.ts";
import { type AvroSchema, avroCodec } from "./schema.ts";

const MAGIC = new Uint8Array([0x4f, 0x62, 0x6a, 0x01]);
const SYNC_BYTES = 16;
/** Records of a block are held in memory together; Java's default block is of this order. Bytes. */
const BLOCK_BYTES = 64 * 1024;
const METADATA_SCHEMA: AvroSchema = { type: "map", values: "bytes" };
const utf8 = new TextEncoder();
const text = new TextDecoder();

export interface AvroFile<T> {
  readonly metadata: ReadonlyMap<string, string>;
  readonly records: T[];
}

/**
 * The bytes of a container file. The sync marker follows from the schema and the metadata, so that the same content is
 * the same file.
 * @param metadata keys beside `avro.schema` and `avro.codec`
 */
export async function writeAvro(
  schema: AvroSchema,
  records: Iterable<unknown>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  const header = new Map<string, Uint8Array>();
  header.set("avro.schema", utf8.encode(JSON.stringify(schema)));
  header.set("avro.codec", utf8.encode("deflate"));
  for (const [key, value] of Object.entries(metadata)) header.set(key, utf8.encode(value));
  const out = new AvroWriter();
  out.fixed(MAGIC);
  avroCodec(METADATA_SCHEMA).write(out, header);
  const sync = new Uint8Array(await crypto.subtle.digest("SHA-256", out.done() as BufferSource)).slice(0, SYNC_BYTES);
  out.fixed(sync);
  const codec = avroCodec(schema);
  let block = new AvroWriter();
  let count = 0;
  const flush = async () => {
    if (count === 0) return;
    out.long(count);
    out.bytes(await pipe(block.done(), new CompressionStream("deflate-raw")));
    out.fixed(sync);
    block = new AvroWriter();
    count = 0;
  };
  for (const record of records) {
    codec.write(block, record);
    count++;
    if (block.length >= BLOCK_BYTES) await flush();
  }
  await flush();
  return out.done();
}

/** Records of a container file in the shape of its own schema. `Corrupt` is thrown for what is none. */
export async function readAvro<T>(bytes: Uint8Array): Promise<AvroFile<T>> {
  const from = new AvroReader(bytes);
  if (!MAGIC.every((byte, at) => bytes[at] === byte)) throw corrupt("it does not begin like one");
  from.fixed(MAGIC.length);
  const header = avroCodec(METADATA_SCHEMA).read(from) as Map<string, Uint8Array>;
  const metadata = new Map([...header].map(([key, value]) => [key, text.decode(value)]));
  const sync = from.fixed(SYNC_BYTES);
  const compression = metadata.get("avro.codec") ?? "null";
  if (compression !== "null" && compression !== "deflate")
    throw corrupt(`its codec is ${JSON.stringify(compression)}; only null and deflate can be read`);
  const codec = avroCodec(JSON.parse(metadata.get("avro.schema") ?? "null") ?? "");
  const records: T[] = [];
  while (!from.atEnd) {
    const count = from.int();
    const packed = from.bytes();
    const plain = compression === "null" ? packed : await pipe(packed, new DecompressionStream("deflate-raw"));
    const block = new AvroReader(plain);
    for (let at = 0; at < count; at++) records.push(codec.read(block) as T);
    const marker = from.fixed(SYNC_BYTES);
    if (!sync.every((byte, at) => marker[at] === byte)) throw corrupt("a sync marker is not where it should be");
  }
  return { metadata, records };
}

const corrupt = (why: string) => new LakeSyncError("Corrupt", `An Avro file cannot be read: ${why}.`);

async function pipe(bytes: Uint8Array, through: CompressionStream | DecompressionStream): Promise<Uint8Array> {
  const source = new Response(bytes as BodyInit).body as ReadableStream<Uint8Array>;
  // Workers and browsers type the two ends differently.
  const both = through as unknown as ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array>;
  return new Uint8Array(await new Response(source.pipeThrough(both)).arrayBuffer());
}
