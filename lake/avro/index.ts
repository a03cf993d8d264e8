/** Avro object container files, as much as Iceberg needs. */
export type { Long } from "./binary.ts";
export { readAvro, writeAvro } from "./file.ts";
export type { AvroField, AvroSchema, AvroSchemaObject } from "./schema.ts";
