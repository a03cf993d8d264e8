/** What can be seen of a gateway from outside, over HTTP: its administration, its lake, and what its users are given. */
import { HttpTransport, LocalDB, SyncCoordinator, type SyncStatus } from "../../client/index.ts";
import { RestCatalogue } from "../../lake/index.ts";
import { err, LakeSyncError, ok, type SyncRules } from "../../schemas/index.ts";
import type { LakeView } from "../lake.ts";
import type { Cells } from "../oracle.ts";
import { SCHEMA, TABLES } from "./workload.ts";

export interface Address {
  readonly url: string;
  readonly gatewayId: string;
  /** Where the lake's files are read. */
  readonly bucket: () => number | undefined;
  token(claims: Readonly<Record<string, unknown>>): Promise<string>;
}

const ROOT = { sub: "root", role: "admin" };
const REQUEST_MS = 60_000;
const READ_TRIES = 4;

/** A request of an operator. */
export async function administer(at: Address, method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(`${at.url}/v1/${at.gatewayId}/admin/${path}`, {
    method,
    headers: { authorization: `Bearer ${await at.token(ROOT)}`, "content-type": "application/json" },
    signal: AbortSignal.timeout(REQUEST_MS),
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const answer = (await response.json()) as unknown;
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

/** The lake, by its REST catalogue and its files. */
export function lakeAt(at: Address): Pick<LakeView, "store" | "catalogue"> {
  const unsupported = () => Promise.reject(new Error("Who looks from outside only reads."));
  const fetched = new Map<string, Uint8Array>(); // a name never gets other bytes
  const get: LakeView["store"]["get"] = async (key, range) => {
    const { offset = 0, length } = range ?? {};
    const end = length === undefined ? undefined : offset + length;
    const held = fetched.get(key);
    if (held) return ok(held.slice(offset, end));
    // On a busy machine the emulator drops a request now and then.
    for (let tries = 0; ; tries++) {
      try {
        const response = await fetch(`http://127.0.0.1:${at.bucket()}/${encodeURIComponent(key)}`);
        if (response.status === 404) return err(new LakeSyncError("NotFound", `There is no ${key}.`));
        if (!response.ok) throw new Error(await response.text());
        const bytes = new Uint8Array(await response.arrayBuffer());
        fetched.set(key, bytes);
        return ok(bytes.slice(offset, end));
      } catch (cause) {
        if (tries >= READ_TRIES)
          return err(new LakeSyncError("DestinationUnavailable", `No answer for ${key}: ${cause}`, {}, { cause }));
        await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** tries));
      }
    }
  };
  const [head, put, putStream, list, remove] = Array.from({ length: 5 }, () => unsupported);
  return {
    store: { location: "s3://lakesync-lake", get, head, put, putStream, list, delete: remove } as LakeView["store"],
    catalogue: new RestCatalogue({
      uri: `${at.url}/iceberg`,
      warehouse: at.gatewayId,
      auth: { type: "bearer", token: () => at.token(ROOT) },
      fetch,
      clock: { now: () => Date.now() },
    }),
  };
}

/** Rows without NULLs, by "table/row". */
export function rowsOf(tables: Readonly<Record<string, readonly (readonly unknown[])[]>>): Map<string, Cells> {
  const rows = new Map<string, Cells>();
  for (const [table, [columns = [], ...found]] of Object.entries(tables)) {
    const id = columns.indexOf("id");
    for (const values of found) {
      const cells = columns.flatMap((name, at) =>
        at === id || values[at] === null ? [] : [[String(name), values[at]]],
      );
      rows.set(`${table}/${String(values[id])}`, Object.fromEntries(cells) as Cells);
    }
  }
  return rows;
}

/** Somebody who only reads: after each page, everything that it holds has to be its to see. */
export class Reader {
  readonly db: LocalDB;
  readonly sync: SyncCoordinator;
  pages = 0;

  private constructor(db: LocalDB, sync: SyncCoordinator) {
    this.db = db;
    this.sync = sync;
  }

  /** @param forbidden by table, SQL that holds for rows that it may not see @param leaked is told of one */
  static async open(
    at: Address,
    claims: Readonly<Record<string, unknown>>,
    forbidden: Readonly<Record<string, string>>,
    leaked: (what: string) => void,
  ): Promise<Reader> {
    const db = await LocalDB.open({ name: String(claims.sub), backend: "memory", schema: SCHEMA });
    const { url: baseUrl, gatewayId } = at;
    const transport = new HttpTransport({ baseUrl, gatewayId, token: () => at.token(claims) });
    const sync = new SyncCoordinator(db, transport, { pollMs: 1000, backoffMaxMs: 4000, requestMs: 20_000 });
    const reader = new Reader(db, sync);
    sync.on("progress", () => {
      reader.pages++;
      for (const [table, condition] of Object.entries(forbidden))
        void db.query<{ id: string }>(`SELECT id FROM ${table} WHERE ${condition} LIMIT 1`).then(([row]) => {
          if (row) leaked(`[PL4] ${String(claims.sub)} was given ${table}/${row.id}, a row that is not theirs to see`);
        });
    });
    sync.startAutoSync();
    return reader;
  }

  status(): Promise<SyncStatus> {
    return this.sync.status();
  }

  async rows(): Promise<Map<string, Cells>> {
    const tables: Record<string, unknown[][]> = {};
    for (const table of TABLES) {
      const found = await this.db.query(`SELECT * FROM ${table}`);
      const columns = Object.keys(found[0] ?? {});
      tables[table] = [columns, ...found.map((row) => columns.map((column) => row[column]))];
    }
    return rowsOf(tables);
  }

  async close(): Promise<void> {
    this.sync.stopAutoSync();
    await this.db.close();
  }
}

/** By table, what holds for rows that somebody may not see by rules whose filters are equalities and lists. */
export function forbiddenTo(rules: SyncRules, claims: Readonly<Record<string, unknown>>): Record<string, string> {
  const literal = (value: unknown) => `'${String(value).replaceAll("'", "''")}'`;
  const of = (value: unknown) =>
    typeof value === "string" && value.startsWith("jwt:") ? claims[value.slice(4)] : value;
  return Object.fromEntries(
    TABLES.map((table) => {
      const allowed = rules.buckets
        .filter((bucket) => bucket.tables.includes(table))
        .map(({ filters }) =>
          filters
            .map(({ column, value }) => `${column} IN (${[of(value)].flat().map(literal).join(", ")})`)
            .join(" AND "),
        );
      return [table, `NOT coalesce((${allowed.join(") OR (")}), 0)`];
    }),
  );
}
