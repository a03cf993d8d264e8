/** Real rows: three million flights (vega-datasets), with ids of their own and the clock of the device that brought them. */
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { initParquetInNode } from "../../lake/node.ts";
import { writeParquet } from "../../lake/parquet/index.ts";
import { type ClientId, type DeltaBatch, DeltaBatchBuilder, hlcToBigInt, packHlc } from "../../schemas/index.ts";
import { ROOT } from "../harness.ts";

export const FLIGHTS = "flights";
export const FLIGHT_COLUMNS = [
  { name: "date", type: "timestamp" },
  { name: "delay", type: "integer" },
  { name: "distance", type: "integer" },
  { name: "origin", type: "string" },
  { name: "destination", type: "string" },
] as const;
export const FLIGHT_RULES = { buckets: [{ name: "all", tables: [FLIGHTS], filters: [] }] };

type Raw = Readonly<Record<"delay" | "distance", bigint>> & {
  readonly date: Date;
  readonly origin: string;
  readonly destination: string;
};
/** Cells in the order of the columns. */
export type Flight = readonly [id: string, date: number, delay: number, distance: number, origin: string, to: string];

/** @param from of the first row */
export async function readFlights(from: number, to: number): Promise<Flight[]> {
  const file = await asyncBufferFromFile(join(ROOT, "node_modules/vega-datasets/data/flights-3m.parquet"));
  const compressors = { ZSTD: (bytes: Uint8Array) => zstdDecompressSync(bytes) };
  const rows = (await parquetReadObjects({ file, rowStart: from, rowEnd: to, compressors })) as unknown as Raw[];
  return rows.map(({ date, delay, distance, origin, destination }, at) => [
    `f${String(from + at).padStart(7, "0")}`,
    date.getTime() * 1000,
    Number(delay),
    Number(distance),
    origin,
    destination,
  ]);
}

const STARTED = Date.now() - 3600_000;
/** A thousand edits share a push, and a push some milliseconds. */
const hlcOf = (n: number) => packHlc(STARTED + Math.floor(n / 1000) * 25, n % 1000);

export function flightBatch(flights: readonly Flight[], first: number): DeltaBatch {
  const builder = new DeltaBatchBuilder(FLIGHTS);
  flights.forEach(([id, ...cells], at) => {
    const named = Object.fromEntries(FLIGHT_COLUMNS.map(({ name }, column) => [name, cells[column] ?? null]));
    builder.add("I", id, hlcOf(first + at), "" as ClientId, named);
  });
  return { ...builder.build(), clients: [] };
}

/** The same rows, ids and clocks as Parquet with zstd. @returns bytes */
export function parquetBytes(flights: readonly Flight[], first: number): number {
  initParquetInNode();
  const types = { timestamp: "timestamptz", integer: "long", string: "string" } as const;
  const hlcs = BigInt64Array.from(flights, (_, at) => hlcToBigInt(hlcOf(first + at)));
  const required = true;
  const columns = [
    { name: "_id", fieldId: 1, type: "string" as const, required, values: flights.map(([id]) => id) },
    { name: "_hlc", fieldId: 2, type: "long" as const, required, values: hlcs },
    ...FLIGHT_COLUMNS.map(({ name, type }, at) => ({
      name,
      fieldId: at + 3,
      type: types[type],
      required: false,
      values: flights.map((flight) => flight[at + 1] as string | number),
    })),
  ];
  return writeParquet({ rows: flights.length, columns }).bytes.length;
}
