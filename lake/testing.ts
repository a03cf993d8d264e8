/** Contract suites, and stand-ins for what the lake stands on, for tests. */
export { FolderStore, initParquetInNode } from "./node.ts";
export { type PlainRow, readTable, type TestLake, type TestLakeOptions, testLake } from "./testing/lake.ts";
export { MemoryCatalogue, type Weather } from "./testing/memory-catalogue.ts";
export { type Edit, type ModelRow, ShardModel } from "./testing/shard-model.ts";
export { rewriteUnmerged, smallFlushes } from "./testing/small-flushes.ts";
export { type SoakOptions, type SoakResult, type SoakState, soak } from "./testing/soak.ts";
export { lakeAdapterContract } from "./testing/store-contract.ts";
