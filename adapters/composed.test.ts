/** Adapters made of others keep the contract of destinations, however they are nested. */
import type { DatabaseAdapter } from "../core/index.ts";
import { databaseAdapterContract, NodeSqlStore } from "../core/testing.ts";
import { unwrap } from "../schemas/index.ts";
import { CompositeAdapter, FanOutAdapter, LifecycleAdapter } from "./index.ts";
import { SqliteAdapter } from "./testing.ts";

/** A destination of so many databases, opened anew by each process. */
function databases(count: number, compose: (...parts: [Db, Db, Db, Db]) => DatabaseAdapter) {
  const stores = Array.from({ length: count }, () => new NodeSqlStore());
  return { open: () => compose(...(stores.map((store) => new SqliteAdapter(store)) as [Db, Db, Db, Db])) };
}

type Db = SqliteAdapter;

databaseAdapterContract("CompositeAdapter whose default is a FanOutAdapter", () =>
  databases(3, (one, primary, secondary) => {
    const fanOut = new FanOutAdapter({ primary, secondaries: [secondary] });
    return new CompositeAdapter({ routes: [{ tables: ["canary", "order"], adapter: one }], defaultAdapter: fanOut });
  }),
);

/** Everything that a flush brings has aged when it ends. */
class Ageing extends LifecycleAdapter {
  override async insertDeltas(batch: Parameters<LifecycleAdapter["insertDeltas"]>[0]) {
    const receipt = await super.insertDeltas(batch);
    if (receipt.ok) unwrap(await this.migrateToTier(batch.table, 2 ** 47));
    return receipt;
  }
}

databaseAdapterContract(
  "LifecycleAdapter whose rows all move to cold after each flush, hot and cold composed",
  () =>
    databases(4, (primary, secondary, inner, outer) => {
      const fanOut = new FanOutAdapter({ primary, secondaries: [] });
      const hot = new Ageing({ hot: { adapter: fanOut, maxAgeMs: 0 }, cold: { adapter: inner } });
      const cold = new CompositeAdapter({
        routes: [{ tables: ["canary"], adapter: secondary }],
        defaultAdapter: outer,
      });
      return new Ageing({ hot: { adapter: hot, maxAgeMs: 0 }, cold: { adapter: cold } });
    }),
  { gateways: "one" },
);
