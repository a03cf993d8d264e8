/**
 * The yardstick: a Durable Object with nothing to it, behind a Worker with nothing to it. What a round trip, an output gate
 * and SQLite cost on this machine at this moment; LakeSync's figures are shown as a share of it.
 *
 *   POST /insert?of=NAME         [{ id, hlc, owner, name, amount, count, at }, ...]: one json_each INSERT, no key, no merge
 *   POST /upsert?of=NAME         the same into a table with a key
 *   GET  /read?of=NAME&rows=N    as many rows as JSON text
 *   PUT  /object?key=KEY         the body as it is into the bucket
 */
import { DurableObject } from "cloudflare:workers";

interface BareEnv {
  readonly BARE: DurableObjectNamespace<Bare>;
  readonly LAKE: R2Bucket;
}

const NAMES = ["id", "hlc", "owner", "name", "amount", "count", "at"];
const COLUMNS = NAMES.join(", ");
const CELLS = NAMES.map((name) => `value ->> '${name}'`).join(", ");

export class Bare extends DurableObject<BareEnv> {
  constructor(ctx: DurableObjectState, env: BareEnv) {
    super(ctx, env);
    ctx.storage.sql.exec(`CREATE TABLE IF NOT EXISTS rows (${COLUMNS})`);
    ctx.storage.sql.exec(`CREATE TABLE IF NOT EXISTS keyed (${COLUMNS}, PRIMARY KEY (id)) WITHOUT ROWID`);
  }

  insert(json: string): number {
    return this.ctx.storage.sql.exec(`INSERT INTO rows SELECT ${CELLS} FROM json_each(?)`, json).rowsWritten;
  }

  /** NULL leaves a cell as it is. */
  upsert(json: string): number {
    const set = NAMES.map((name) => `${name} = coalesce(excluded.${name}, ${name})`);
    const sql = `INSERT INTO keyed SELECT ${CELLS} FROM json_each(?) WHERE true ON CONFLICT (id) DO UPDATE SET ${set}`;
    return this.ctx.storage.sql.exec(sql, json).rowsWritten;
  }

  read(count: number): string {
    const rows = this.ctx.storage.sql.exec(`SELECT ${COLUMNS} FROM rows LIMIT ?`, count);
    return JSON.stringify([...rows.raw()]);
  }
}

export default {
  async fetch(request: Request, env: BareEnv): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const bare = env.BARE.getByName(searchParams.get("of") ?? "bare");
    if (pathname === "/insert") return new Response(String(await bare.insert(await request.text())));
    if (pathname === "/upsert") return new Response(String(await bare.upsert(await request.text())));
    if (pathname === "/read") return new Response(await bare.read(Number(searchParams.get("rows"))));
    if (pathname === "/object") {
      await env.LAKE.put(searchParams.get("key") ?? "bare", await request.arrayBuffer());
      return new Response("stored");
    }
    return new Response(null, { status: 404 });
  },
};
