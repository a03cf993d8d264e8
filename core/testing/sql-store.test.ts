import { NodeSqlStore } from "./node-sqlite.ts";
import { sqlStoreContract } from "./sql-store-contract.ts";

sqlStoreContract("node:sqlite", async (body) => {
  const store = new NodeSqlStore();
  body(store);
  store.close();
});
