/** In the browser, and likewise in Node: a new device that becomes current, and the same rows put into a bare table. */
import { type Backend, HttpTransport, LocalDB, SyncCoordinator } from "../../client/index.ts";

const SCHEMA = {
  flights: {
    date: { type: "timestamp" },
    delay: { type: "integer" },
    distance: { type: "integer" },
    origin: { type: "string" },
    destination: { type: "string" },
  },
} as const;
/** What is fastest: a statement for thousands of rows (docs/benchmarks.md). */
const BARE_INSERT = `INSERT INTO bare SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?)`;

export interface Place {
  readonly name: string;
  readonly backend: Backend;
  readonly path?: string;
}

export interface Gateway {
  readonly baseUrl: string;
  readonly gatewayId: string;
  readonly token: string;
}

/** @returns milliseconds, and bytes of chunks on the wire */
export async function ours(place: Place, gateway: Gateway, rows: number): Promise<{ ms: number; bytes: number }> {
  const db = await LocalDB.open({ ...place, schema: SCHEMA });
  const sync = new SyncCoordinator(db, new HttpTransport({ ...gateway, timeoutMs: 120_000 }), { requestMs: 120_000 });
  let bytes = 0;
  sync.on("firstSync", (step) => {
    bytes = step.bytes;
  });
  const started = performance.now();
  await sync.syncOnce();
  const ms = performance.now() - started;
  await count(db, "flights", rows);
  await db.close();
  return { ms, bytes };
}

/** @param slices JSON arrays of rows @returns milliseconds */
export async function bare(place: Place, slices: readonly string[], rows: number): Promise<number> {
  const db = await LocalDB.open(place);
  await db.exec(
    "CREATE TABLE bare (id TEXT PRIMARY KEY NOT NULL, date INTEGER, delay INTEGER, distance INTEGER, origin TEXT, destination TEXT) STRICT",
  );
  const started = performance.now();
  await db.transaction(async (tx) => {
    for (const slice of slices) await tx.exec(BARE_INSERT, [slice]);
  });
  const ms = performance.now() - started;
  await count(db, "bare", rows);
  await db.close();
  return ms;
}

async function count(db: LocalDB, table: string, rows: number): Promise<void> {
  const [found] = await db.query<{ n: number }>(`SELECT count(*) AS n FROM ${table}`);
  if (found?.n !== rows) throw new Error(`${found?.n} rows of ${rows} are there`);
}
