/** Vectors as an Arrow IPC stream of one batch. Field ids travel in the field metadata `PARQUET:field_id`. */
import {
  type Batch,
  batchType,
  binary,
  bool,
  Column,
  type DataType,
  float64,
  int64,
  Table,
  TimeUnit,
  tableToIPC,
  timestamp,
  utf8,
} from "@uwdata/flechette";
import { invariant } from "../../schemas/index.ts";
import type { LakeType, ParquetColumn } from "./types.ts";
import { buildVector, type Vector } from "./vectors.ts";

const ARROW_TYPES: Readonly<Record<LakeType, () => DataType>> = {
  string: utf8,
  long: int64,
  double: float64,
  boolean: bool,
  timestamptz: () => timestamp(TimeUnit.MICROSECOND, "UTC"),
  binary,
};

const ARROW_V5 = 4;
const LITTLE_ENDIAN = 0;

/** Columns of scalars, as they are, as an IPC stream. */
export const arrowOf = (columns: readonly ParquetColumn[], rows: number): Uint8Array =>
  arrowStreamOf(
    columns,
    columns.map((column) => buildVector(column, rows, undefined)),
  );

export function arrowStreamOf(columns: readonly ParquetColumn[], vectors: readonly Vector[]): Uint8Array {
  const types = columns.map((column) => ARROW_TYPES[column.type]());
  const fields = columns.map((column, at) => ({
    name: column.name,
    type: types[at] as DataType,
    nullable: !column.required,
    metadata: new Map([["PARQUET:field_id", String(column.fieldId)]]),
  }));
  const children = vectors.map((vector, at) => {
    const type = types[at] as DataType;
    const batch = { ...vector, nullCount: vector.nulls, type } as unknown as ConstructorParameters<typeof Batch>[0];
    return new Column([new (batchType(type, {}))(batch) as Batch<unknown>], type);
  });
  const schema = { version: ARROW_V5, endianness: LITTLE_ENDIAN, fields, metadata: null };
  const ipc = tableToIPC(new Table(schema as unknown as ConstructorParameters<typeof Table>[0], children), {
    format: "stream",
  });
  invariant(ipc, "an IPC stream without a sink is bytes");
  return ipc;
}
