import type { TableSchema } from "../../schemas/index.ts";

/** A table that has titles. */
export const TODOS: TableSchema = {
  table: "todos",
  version: 1,
  columns: [{ id: 1, name: "title", type: "string", nullable: true }],
  lastColumnId: 1,
  shards: 0,
};
