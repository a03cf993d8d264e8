/**
 * Where flushes go: the gateway's Iceberg tables in its R2 bucket, through its own catalogue or another, or the backend that
 * a table's schema or the configuration names.
 */
import { zstdDecompressSync } from "node:zlib";
import parquetWasm from "parquet-wasm/esm/parquet_wasm_bg.wasm";
import type { DatabaseAdapter } from "../core/index.ts";
import { catalogueServer, type Env, lakeLocation } from "../durable-objects/index.ts";
import { catalogueOf, IcebergAdapter, initParquet, initZstd, type LakeDeps, R2Store } from "../lake/index.ts";
import { tableBackends } from "./backends.ts";
import { foreignCatalogue } from "./catalogue.ts";

/** @param gatewayId from a verified token or from LakeSync's own records (S1) */
export function lakeOf(env: Env, gatewayId: string): LakeDeps {
  initParquet(parquetWasm);
  initZstd(zstdDecompressSync);
  const foreign = foreignCatalogue(env);
  return {
    store: new R2Store(env.LAKE, { location: lakeLocation(env) }),
    // Others share a foreign catalogue, so that its namespace is the gateway's name.
    ...(foreign
      ? { catalogue: foreign, namespace: [gatewayId] }
      : { catalogue: catalogueOf(catalogueServer(env, gatewayId)) }),
    clock: { now: () => Date.now() },
    chance: () => Math.random(),
    sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
  };
}

/** Each table in its backend. Close it: a database's connections end with it. */
export const destinationFor = (env: Env, gatewayId: string): DatabaseAdapter =>
  tableBackends(env, gatewayId, new IcebergAdapter(lakeOf(env, gatewayId), gatewayId));
