/**
 * `lakesync.config.ts` as the Worker has it: bundled with it, or in the variable LAKESYNC_CONFIG instead. `lake`, the gateway's
 * Iceberg tables, need not be declared, and takes every table that the file does not name.
 *
 *   a table goes to   what its own definition names (admin/tables, admin/backends), or else what the file says of it, or else
 *                     the file's default, or else the lake
 *
 * Who writes the file runs the Worker, for all of its gateways: what backends there are, with which secrets and parts, is said there
 * alone. Which table of a gateway is in which of them its own admin says, too (decision 0095).
 */
import type { Env } from "../durable-objects/index.ts";
import {
  LAKE,
  LakeSyncError,
  leavesOf,
  type ParsedConfig,
  parseGatewayConfig,
  type TableSchema,
  withinBackend,
} from "../schemas/index.ts";

let read: { readonly source: unknown; readonly config: ParsedConfig } | undefined;

/** @throws `Misconfigured` */
export function configOf({ LAKESYNC_CONFIG: source = { backends: {} } }: Pick<Env, "LAKESYNC_CONFIG">): ParsedConfig {
  if (read?.source !== source) read = { source, config: parseGatewayConfig(jsonOf(source)) };
  return read.config;
}

function jsonOf(source: unknown): unknown {
  if (typeof source !== "string") return source;
  try {
    return JSON.parse(source);
  } catch {
    throw new LakeSyncError("Misconfigured", "The variable LAKESYNC_CONFIG is not JSON.", { key: "LAKESYNC_CONFIG" });
  }
}

/** The backend that a table goes to. */
export const backendOf = (
  { tables, default: other = LAKE }: ParsedConfig,
  { table, backend }: Pick<TableSchema, "table" | "backend">,
): string => backend ?? (Object.hasOwn(tables, table) ? (tables[table] as string) : other);

/** What a table's backend asks of whoever runs the gateway, beside flushes. */
export interface Upkeep {
  /** Its flushes go to the lake. */
  readonly lakeFirst: boolean;
  /** Some of its rows, or a copy of them, are or may come to be in the lake. */
  readonly lake: boolean;
  /** It has secondaries. */
  readonly follows: boolean;
  /** Their names, in the order in which `catchUp` tells of them. */
  readonly secondaries: readonly string[];
  /** It has tiers. */
  readonly tiers: boolean;
  /** Some of it is an adapter object in another process, which may have secondaries and tiers within. */
  readonly hosted: boolean;
}

export function upkeepOf(config: ParsedConfig, table: Pick<TableSchema, "table" | "backend">): Upkeep {
  const name = backendOf(config, table);
  const within = withinBackend(config, name).map(([, backend]) => backend);
  const leaves = leavesOf(config, name).map(([, { type }]) => type);
  const hosted = leaves.includes("adapter");
  const secondaries = within.flatMap((backend) => (backend.type === "fan-out" ? backend.secondaries : []));
  return {
    lakeFirst: leaves[0] === "iceberg",
    lake: leaves.includes("iceberg"),
    secondaries,
    follows: hosted || secondaries.length > 0,
    tiers: hosted || within.some(({ type }) => type === "lifecycle"),
    hosted,
  };
}
