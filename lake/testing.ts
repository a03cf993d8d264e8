/** Contract suites, and stand-ins for what the lake stands on, for tests. */
export { MemoryCatalogue, type Weather } from "./testing/memory-catalogue.ts";
export { type Edit, type ModelRow, ShardModel } from "./testing/shard-model.ts";
export { lakeAdapterContract } from "./testing/store-contract.ts";
