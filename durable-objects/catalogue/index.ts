/**
 * The Catalogue: a shell around the embedded catalogue, one for each tenant. Pointers are in its SQLite, metadata files in the
 * lake's bucket. Answers travel as plain values; snapshot ids above 2^53 as bigint, which structured cloning keeps.
 */
import { DurableObject } from "cloudflare:workers";
import { type CatalogueServer, EmbeddedCatalogue, R2Store } from "../../lake/index.ts";
import { err, LakeSyncError, type Result } from "../../schemas/index.ts";
import { type Env, lakeLocation } from "../env.ts";
import { type Plain, toPlain } from "../rpc.ts";
import { DurableSqlStore } from "../sql-store.ts";

export type CatalogueMethod = keyof CatalogueServer;

export class Catalogue extends DurableObject<Env> {
  #open: EmbeddedCatalogue | undefined;

  /** Runs one method of the gateway's catalogue. `gatewayId` comes from a verified token, and names this object too. */
  async ask(gatewayId: string, method: CatalogueMethod, args: readonly unknown[]): Promise<Plain<unknown>> {
    if (gatewayId !== this.ctx.id.name)
      return toPlain(err(new LakeSyncError("Forbidden", "This is another gateway's catalogue.")));
    const catalogue = this.#catalogue(gatewayId);
    const run = catalogue[method] as (...args: unknown[]) => Promise<Result<unknown, LakeSyncError>>;
    return toPlain(await run.apply(catalogue, [...args]));
  }

  #catalogue(gatewayId: string): EmbeddedCatalogue {
    this.#open ??= new EmbeddedCatalogue({
      sql: new DurableSqlStore(this.ctx.storage),
      store: new R2Store(this.env.LAKE, { location: lakeLocation(this.env) }),
      gatewayId,
      clock: Date,
      newId: () => crypto.randomUUID(),
    });
    return this.#open;
  }
}
