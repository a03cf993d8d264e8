/**
 * `lakesync.config.ts` of a gateway, at the edge or self-hosted. `lake`, its Iceberg tables, need not be declared, and takes every
 * table that the file does not name.
 */
import { type ParsedConfig, parseConfig } from "./config.ts";
import { LakeSyncError } from "./errors.ts";
import { unwrap } from "./result.ts";

export const LAKE = "lake";

/** @throws `Misconfigured`, with the key and the remedy */
export function parseGatewayConfig(input: unknown): ParsedConfig {
  const config = unwrap(parseConfig(withLake(input)));
  if (config.backends[LAKE]?.type !== "iceberg")
    throw misconfigured(`backends.${LAKE}`, "That is the gateway's Iceberg tables; call this backend otherwise.");
  const datasets = Object.entries(config.backends).flatMap(([name, backend]) =>
    backend.type === "bigquery" ? [{ name, dataset: backend.dataset }] : [],
  );
  for (const { name, dataset } of datasets)
    for (const other of datasets)
      if (other.name !== name && `${other.dataset}_`.startsWith(`${dataset}_`))
        throw misconfigured(
          `backends.${other.name}.dataset`,
          `${other.dataset} begins as ${dataset}, that of ${name}: gateways of the two could meet in one dataset. Begin it otherwise.`,
        );
  return config;
}

const misconfigured = (key: string, why: string) =>
  new LakeSyncError("Misconfigured", `lakesync.config.ts, ${key}: ${why}`, { key });

/** What is no object is told by who checks it. */
function withLake(input: unknown): unknown {
  if (typeof input !== "object" || input === null) return input;
  const { backends = {}, ...rest } = input as { backends?: unknown };
  if (typeof backends !== "object" || backends === null) return input;
  return { default: LAKE, ...rest, backends: { [LAKE]: { type: "iceberg" }, ...backends } };
}
