/** Object stores that run in a Worker. The one in a folder needs Node and is in lake/node.ts. */
export { MemoryStore, type MemoryStoreOptions } from "./memory.ts";
export { R2Store, type R2StoreOptions } from "./r2.ts";
export { S3Store, type S3StoreOptions } from "./s3.ts";
