/**
 * Hears at once that others edited tables of a Postgres, by its log (logical replication), so that nobody need ask it every two seconds.
 *
 *   a transaction writes edits --message--> the server's log --temporary slot, pgoutput--> this process --> take them in
 *
 * What is taken in, and that it is once, is the feed's affair (adapters/postgres/feed.ts): what is not heard here, because the
 * connection was away, the server has no such log, or a right is missing, waits for whoever asks from time to time.
 * The slot is gone with its connection: nobody's absence fills the server's disk.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Pgoutput, PgoutputPlugin } from "pg-logical-replication";
import { FEED_MESSAGE, FEED_TRIGGER } from "../adapters/index.ts";
import { LakeSyncError } from "../schemas/index.ts";

/** pgoutput wants one, that may be empty: messages come whatever it publishes. */
const PUBLICATION = "lakesync_feeds";
/** How often to look whether there is a table that is followed. Milliseconds. */
const LOOK_MS = 2_000;
/** After what passes by itself, doubled each time; and after what a person has to mend. Milliseconds. */
const AGAIN_MS = { first: 100, most: 5_000, mended: 60_000 };
const CONNECT_MS = 10_000;

export interface EditListenerOptions {
  /** Of the backend, for errors. */
  readonly name: string;
  readonly connectionString: string;
  /** Takes in what waits in a schema, or in all, since something may have been missed. One call at a time. */
  readonly take: (schema: string | undefined) => Promise<void>;
  /** Why nothing is heard; once until something is heard again. */
  readonly trouble: (error: LakeSyncError) => void;
}

interface Heard {
  readonly transaction: string;
  readonly schema: string;
}

export class EditListener {
  readonly #options: EditListenerOptions;
  readonly #ended = new AbortController();
  readonly #pool: pg.Pool;
  #told = new Set<string>();
  #live = false;
  #missed = false;
  #heard: Heard[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #taking: Promise<void> | undefined;

  constructor(options: EditListenerOptions) {
    this.#options = options;
    const { connectionString } = options;
    const application_name = "lakesync";
    const limits = { max: 1, connectionTimeoutMillis: CONNECT_MS, query_timeout: CONNECT_MS };
    this.#pool = new pg.Pool({ connectionString, application_name, ...limits });
    this.#pool.on("error", () => {});
  }

  /** Whether an edit would be heard now, as far as anybody's are wanted. */
  get live(): boolean {
    return this.#live;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Waits for what is being taken in. */
  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#running;
    await this.#taking;
    await this.#pool.end();
  }

  get #stopped(): boolean {
    return this.#ended.signal.aborted;
  }

  async #run(): Promise<void> {
    let again = AGAIN_MS.first;
    while (!this.#stopped) {
      let ms = LOOK_MS;
      try {
        if (await this.#followed()) {
          await this.#listen(() => {
            again = AGAIN_MS.first;
          });
          ms = again;
        } else this.#live = true;
      } catch (failure) {
        this.#live = false;
        const error = troubleOf(failure, this.#options.name);
        ms = error.code === "Misconfigured" ? AGAIN_MS.mended : again;
        again = Math.min(again * 2, AGAIN_MS.most);
        if (!this.#stopped) this.#tell(error);
      }
      await this.#rest(ms);
    }
  }

  #tell(error: LakeSyncError): void {
    if (this.#told.has(error.message)) return;
    this.#told.add(error.message);
    this.#options.trouble(error);
  }

  async #rest(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#ended.signal, ref: false }).catch(() => {});
  }

  /** A slot costs the server work: none for a database where nobody's edits are wanted. */
  async #followed(): Promise<boolean> {
    const { rowCount } = await this.#pool.query("SELECT FROM pg_trigger WHERE tgname = $1 LIMIT 1", [FEED_TRIGGER]);
    return rowCount !== 0;
  }

  /** Until the connection ends. */
  async #listen(started: () => void): Promise<void> {
    const { LogicalReplicationService, PgoutputPlugin } = await import("pg-logical-replication");
    class TemporarySlot extends PgoutputPlugin {
      override async start(...[client, slot, lsn]: Parameters<PgoutputPlugin["start"]>): Promise<unknown> {
        await publish(client);
        await client.query(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT`);
        return super.start(client, slot, lsn);
      }
    }
    const { connectionString } = this.#options;
    const service = new LogicalReplicationService({
      connectionString,
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_MS,
      application_name: "lakesync",
    });
    const end = () => void service.stop();
    this.#ended.signal.addEventListener("abort", end, { once: true });
    try {
      service.on("error", () => {}); // `subscribe` rejects
      service.on("start", () => {
        started();
        this.#told = new Set();
        this.#live = true;
        this.#missed = true;
        this.#heard = []; // of before: a database that crashed may not know them
        this.#wake();
      });
      service.on("data", (_, message: Pgoutput.Message) => this.#hear(message));
      const slot = `lakesync_${crypto.randomUUID().replaceAll("-", "")}`;
      const plugin = new TemporarySlot({ protoVersion: 1, publicationNames: [PUBLICATION], messages: true });
      if (!this.#stopped) await service.subscribe(plugin, slot);
    } finally {
      this.#live = false;
      this.#ended.signal.removeEventListener("abort", end);
      await service.destroy();
    }
  }

  #hear(message: Pgoutput.Message): void {
    if (message.tag !== "message" || message.prefix !== FEED_MESSAGE) return;
    const [, transaction, schema] = /^(\d+) (.+)$/s.exec(new TextDecoder().decode(message.content)) ?? [];
    if (transaction === undefined || schema === undefined) return;
    this.#heard.push({ transaction, schema });
    this.#wake();
  }

  #wake(): void {
    this.#taking ??= this.#takeAll().finally(() => {
      this.#taking = undefined;
    });
  }

  async #takeAll(): Promise<void> {
    for (let wait = 1; (this.#missed || this.#heard.length > 0) && !this.#stopped; ) {
      const missed = this.#missed;
      this.#missed = false;
      const heard = this.#heard;
      this.#heard = [];
      try {
        const seen = heard.length === 0 ? [] : await this.#seen(heard);
        const schemas = new Set(heard.filter((_, at) => seen[at]).map(({ schema }) => schema));
        for (const schema of missed ? [undefined] : schemas) await this.#options.take(schema);
        this.#heard.push(...heard.filter((_, at) => !seen[at]));
        wait = seen.includes(false) ? Math.min(wait * 2, 200) : 1;
        if (seen.includes(false)) await this.#rest(wait);
      } catch {
        this.#missed = true;
        if (!this.#live) return; // The database is away: when it is heard again, all is taken in.
        await this.#rest(LOOK_MS);
      }
    }
  }

  /** A transaction is heard of when its commit is in the log, which may be long before others see it, as where a standby has to agree. */
  async #seen(heard: readonly Heard[]): Promise<boolean[]> {
    const { rows } = await this.#pool.query<{ seen: boolean }>(
      `SELECT pg_visible_in_snapshot(t.id::xid8, pg_current_snapshot()) AS seen
       FROM unnest($1::text[]) WITH ORDINALITY AS t (id, n) ORDER BY n`,
      [heard.map(({ transaction }) => transaction)],
    );
    return rows.map(({ seen }) => seen);
  }
}

async function publish(client: pg.ClientBase): Promise<void> {
  const { rowCount } = await client.query(`SELECT FROM pg_publication WHERE pubname = '${PUBLICATION}'`);
  if (rowCount !== 0) return;
  await client.query(`CREATE PUBLICATION ${PUBLICATION}`).catch((error: { code?: string }) => {
    if (error.code !== "42710") throw error; // another process made it meanwhile
  });
}

/** By SQLSTATE, or Node's code: what a person has to mend. */
const REMEDIES: Readonly<Record<string, string>> = {
  "55000": "set wal_level = logical and restart it",
  "42501": `ALTER ROLE its user REPLICATION, and as who may: CREATE PUBLICATION ${PUBLICATION}`,
  "53400": "raise max_replication_slots",
  "08P01": "let the connection string lead to Postgres itself, not to a pooler that refuses replication",
  ERR_MODULE_NOT_FOUND: "npm install pg-logical-replication",
};

function troubleOf(failure: unknown, backend: string): LakeSyncError {
  const code = String((failure as { code?: unknown } | undefined)?.code ?? "");
  const remedy = REMEDIES[code];
  const asked = "what others edit there is asked for from time to time";
  const [kind, why] = remedy
    ? (["Misconfigured", `for that, ${remedy}`] as const)
    : (["DestinationUnavailable", "the connection is tried again"] as const);
  const message = `${backend} does not tell at once what others edit in it: ${why}. Until then ${asked}.`;
  return new LakeSyncError(kind, message, { backend, ...(code && { reason: code }) }, { cause: failure });
}
