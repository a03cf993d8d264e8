import { databaseAdapterContract, NodeSqlStore } from "../../core/testing.ts";
import { SqliteAdapter } from "../testing.ts";

databaseAdapterContract("SQLite, for tests", () => {
  const store = new NodeSqlStore();
  return { open: () => new SqliteAdapter(store) };
});
