/** An engine in the world that reads the lake's files and catalogue, and was never part of the product. */
import { catalogueOf, currentSnapshot, EmbeddedCatalogue } from "../lake/index.ts";
import { type LakeView, openTable, readingOf } from "./lake.ts";
import { GATEWAY } from "./world/gateway.ts";
import type { World } from "./world.ts";

export function lakeOf(world: World): LakeView {
  const { store } = world.gateway;
  const { sql } = world.gateway.host("CATALOGUE", GATEWAY);
  const clock = { now: () => 0 };
  const newId = () => "nobody writes here";
  return {
    store,
    catalogue: catalogueOf(new EmbeddedCatalogue({ sql, store, gatewayId: GATEWAY, clock, newId })),
    tables: Object.keys(world.tables),
    oracle: world.oracle,
    columnIds: (table) => world.columnIds(table),
    readings: world.watch.readings,
  };
}

/** [L5] An engine loads a table, and reads it only after a while: within the grace period nothing is missing. */
export async function query(world: World, table: string, ms: number): Promise<void> {
  const main = await openTable(lakeOf(world), table, "main");
  const snapshot = main && currentSnapshot(main.metadata);
  if (!main || !snapshot) return;
  const { sleptMs } = world;
  await world.scheduler.sleep(ms);
  if (world.sleptMs !== sleptMs) return; // whoever sleeps for hours begins anew
  try {
    world.watch.queried(await readingOf(table, main, snapshot));
    world.trace.note("engine", `reads ${table} as it was ${ms} ms ago, snapshot ${snapshot["sequence-number"]}`);
  } catch (error) {
    world.fail(`[L5] a snapshot of ${table} that was taken ${ms} ms ago cannot be read: ${error}`);
  }
}
