/** The lake: Iceberg tables over object storage, and their catalogue. */
export * from "./catalogue/index.ts";
export * from "./store/index.ts";
