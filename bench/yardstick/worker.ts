/**
 * The yardstick: a Durable Object with nothing to it, behind a Worker with nothing to it. What a round trip, an output gate
 * and SQLite cost on this machine at this moment; LakeSync's figures are shown as a share of it.
 *
 *   POST /v1/NAME/push             { clientId, deltas: [{ op, table, rowId, hlc, columns }, ...] }, a push as JSON with a token:
 *                                  one json_each INSERT, no key, no merge
 *   POST /insert?of=NAME           [{ id, hlc, owner, name, amount, count, at }, ...]: one json_each INSERT, no key, no merge
 *   POST /upsert?of=NAME           the same into a table with a key
 *   GET  /read?of=NAME&after=N&rows=N   that many rows after row N as JSON text
 *   POST /pick?of=NAME             [id, ...]: these rows of the table with a key, as JSON text
 *   GET  /echo?of=NAME             a WebSocket whose object sends back what comes
 *   GET  /stored?of=NAME           the same once a second object has it on disk
 *   POST /parquet/load?prefix=P    decodes the Parquet files below P and keeps their columns
 *   POST /parquet/write            writes the columns that were kept through parquet-wasm, and puts the files
 */
import { DurableObject } from "cloudflare:workers";
import { jwtVerify } from "jose";
import { loadColumns, writeColumns } from "./parquet.ts";

interface BareEnv {
  readonly BARE: DurableObjectNamespace<Bare>;
  readonly LAKE: R2Bucket;
  readonly JWT_SECRET: string;
}

const NAMES = ["id", "hlc", "owner", "name", "amount", "count", "at"];
const COLUMNS = NAMES.join(", ");
const CELLS = NAMES.map((name) => `value ->> '${name}'`).join(", ");

export class Bare extends DurableObject<BareEnv> {
  #store: DurableObjectStub<Bare> | undefined;

  constructor(ctx: DurableObjectState, env: BareEnv) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS messages (body)");
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS deltas (op, tbl, row, hlc, client, columns)");
    ctx.storage.sql.exec(`CREATE TABLE IF NOT EXISTS rows (${COLUMNS})`);
    ctx.storage.sql.exec(`CREATE TABLE IF NOT EXISTS keyed (${COLUMNS}, PRIMARY KEY (id)) WITHOUT ROWID`);
  }

  override async fetch(request: Request): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server, [new URL(request.url).pathname]);
    return new Response(null, { status: 101, webSocket: client });
  }

  override async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    if (this.ctx.getTags(socket)[0] === "/stored") {
      this.#store ??= this.env.BARE.getByName("store");
      await this.#store.keep(message as ArrayBuffer);
    }
    socket.send(message);
  }

  keep(message: ArrayBuffer): number {
    return this.ctx.storage.sql.exec("INSERT INTO messages VALUES (?)", message).rowsWritten;
  }

  push(json: string): number {
    const sql = `INSERT INTO deltas SELECT value ->> 'op', value ->> 'table', value ->> 'rowId', value ->> 'hlc', ?1 ->> 'clientId',
      value ->> 'columns' FROM json_each(?1, '$.deltas')`;
    return this.ctx.storage.sql.exec(sql, json).rowsWritten;
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

  read(after: number, count: number): string {
    const sql = `SELECT ${COLUMNS} FROM rows WHERE rowid > ? ORDER BY rowid LIMIT ?`;
    return JSON.stringify([...this.ctx.storage.sql.exec(sql, after, count).raw()]);
  }

  pick(ids: string): string {
    const columns = NAMES.map((name) => `keyed.${name}`).join(", ");
    const sql = `SELECT ${columns} FROM json_each(?) AS wanted CROSS JOIN keyed WHERE keyed.id = wanted.value`;
    return JSON.stringify([...this.ctx.storage.sql.exec(sql, ids).raw()]);
  }
}

export default {
  async fetch(request: Request, env: BareEnv): Promise<Response> {
    const { pathname, searchParams: query } = new URL(request.url);
    const pushed = /^\/v1\/([^/]+)\/push$/.exec(pathname)?.[1];
    if (pushed) {
      const token = request.headers.get("authorization")?.slice("Bearer ".length) ?? "";
      await jwtVerify(token, new TextEncoder().encode(env.JWT_SECRET));
      return new Response(String(await env.BARE.getByName(pushed).push(await request.text())));
    }
    const bare = env.BARE.getByName(query.get("of") ?? "bare");
    switch (pathname) {
      case "/echo":
      case "/stored":
        return bare.fetch(request);
      case "/insert":
        return new Response(String(await bare.insert(await request.text())));
      case "/upsert":
        return new Response(String(await bare.upsert(await request.text())));
      case "/read":
        return new Response(await bare.read(Number(query.get("after")), Number(query.get("rows"))));
      case "/pick":
        return new Response(await bare.pick(await request.text()));
      case "/parquet/load":
        return Response.json(await loadColumns(env.LAKE, query.get("prefix") ?? ""));
      case "/parquet/write":
        return Response.json(await writeColumns(env.LAKE));
      default:
        return new Response(null, { status: 404 });
    }
  },
};
