/** Contract suites and stores for tests. */
export { catalogueContract } from "./testing/catalogue-contract.ts";
export { type Destination, databaseAdapterContract, type Nature } from "./testing/database-contract.ts";
export { FlushScript } from "./testing/flush-script.ts";
export { NodeSqlStore } from "./testing/node-sqlite.ts";
export { mayTouch, type OracleRow, rowOf, type StampedEdit } from "./testing/oracle.ts";
export {
  ADMIN,
  clockAt,
  Device,
  type Edit,
  edit,
  NOTES,
  NOW,
  push,
  shardOf,
  TODOS,
  tableOf,
  user,
} from "./testing/shard-kit.ts";
export { anySchedule, CRAMPED, ROOMY } from "./testing/shard-world.ts";
export { sqlStoreContract } from "./testing/sql-store-contract.ts";
