/**
 * Device = shard = lake, by digests (V1). Everything is read: for an operator's question, not for every day.
 *
 *   shard    its digest, kept edit by edit, is that of its rows read one by one
 *   lake     its rows, read one by one, are what the shards said at their last flush; and what the shards hold now, where
 *            nothing waits to be flushed
 *   device   the digests that a caller sends are the shards'
 */
import { layoutOf, TableDigest } from "../core/index.ts";
import { call, type Env, Router } from "../durable-objects/index.ts";
import { lakeContent } from "../lake/index.ts";
import { type TableSchema, unwrap } from "../schemas/index.ts";
import { backendsIn } from "./backends.ts";
import { upkeepOf } from "./config.ts";
import { lakeOf } from "./destination.ts";

interface TableVerdict {
  readonly table: string;
  readonly ok: boolean;
  /** Of all shards' rows now. */
  readonly digest: string;
  readonly shards: readonly {
    readonly shard: string;
    readonly ok: boolean;
    readonly kept: string;
    readonly counted: string;
  }[];
  /** Absent while the lake has no such table, and for one that is kept in a database. `current`: nothing waits to be flushed. */
  readonly lake?: { readonly ok: boolean; readonly current: boolean; readonly counted: string; readonly said: string };
  /** Absent where the caller sent none. */
  readonly device?: { readonly ok: boolean; readonly digest: string };
}

/** @param held digests of a device by table */
export async function verifyGateway(
  env: Env,
  gatewayId: string,
  held: Readonly<Record<string, string>>,
): Promise<{ readonly ok: boolean; readonly tables: readonly TableVerdict[] }> {
  const router = new Router(env);
  const { tables, map, version } = unwrap(await router.freshState(gatewayId));
  const verdicts: TableVerdict[] = [];
  for (const table of tables) {
    const shards = [];
    for (const shard of layoutOf(map, table.table)) {
      const stub = router.shard(gatewayId, shard);
      const digests = unwrap(await call("shard", stub.verify({ gatewayId, shard, version }, table.table)));
      shards.push({ shard, ok: digests.kept === digests.counted, ...digests });
    }
    verdicts.push(await verdictOf(env, gatewayId, table, shards, held[table.table]));
  }
  return { ok: verdicts.every(({ ok }) => ok), tables: verdicts };
}

type ShardVerdict = TableVerdict["shards"][number] & { readonly flushed: boolean };

async function verdictOf(
  env: Env,
  gatewayId: string,
  table: TableSchema,
  shards: readonly ShardVerdict[],
  held: string | undefined,
): Promise<TableVerdict> {
  const now = TableDigest.sum(shards.map(({ counted }) => counted));
  const { lakeFirst } = upkeepOf(backendsIn(env), table);
  const content = lakeFirst ? await lakeContent(lakeOf(env, gatewayId), table) : undefined;
  const said = content && TableDigest.sum(Object.values(content.said)).content;
  const current = shards.every(({ flushed }) => flushed);
  const lake = content && {
    ok: content.counted === said && (!current || content.counted === now.content),
    current,
    counted: content.counted,
    said: said ?? "",
  };
  const device = held === undefined ? undefined : { ok: held === String(now), digest: held };
  return {
    table: table.table,
    ok: shards.every(({ ok }) => ok) && lake?.ok !== false && device?.ok !== false,
    digest: String(now),
    shards: shards.map(({ flushed: _, ...shard }) => shard),
    ...(lake && { lake }),
    ...(device && { device }),
  };
}
