/**
 * Edits that other programs make in the tables of a PostgresAdapter, for sync to take in.
 *
 *   INSERT, UPDATE, DELETE, TRUNCATE --trigger--> lakesync_foreign --read, push, settle--> the gateway
 *   a flush                          --LakeSync says so in its transaction: no trigger
 *
 * The trigger's entry commits or rolls back with the edit. Entries are taken out when sync has them, not read past: one whose
 * transaction commits late is found when it is there, since nothing remembers how far anybody has read. Entries of one row are
 * in the order of its edits, because the row is locked until each has committed.
 *
 *   lakesync_feeds     each table that is followed: its client id, the newest clock that it gave
 *   lakesync_foreign   the entries: id, row, what it had beside its values, changed cells; later its clock, or why it was refused
 *
 * Each transaction that writes entries says so once in the server's log, as FEED_MESSAGE: who listens there (server/edit-listener.ts)
 * need not ask every while.
 */
import type pg from "pg";
import { type Backlog, type ChangeFeed, type ForeignEdit, type ForeignEdits, foreignClock } from "../../core/index.ts";
import {
  attempt,
  type ClientId,
  FOREIGN_CHARS,
  FOREIGN_EDITS,
  type HlcText,
  LakeSyncError,
  type Result,
  type TableSchema,
} from "../../schemas/index.ts";
import { cellsOfJson, newestSeen } from "../sql/foreign.ts";
import type { TableRecord } from "../sql/table.ts";
import type { PostgresOptions } from "./index.ts";
import { APPLIES, PostgresPool, quote } from "./pool.ts";
import { PostgresSession } from "./session.ts";

/** Prefix of the message. It says "transaction schema": the id of the transaction, and where the entries are. */
export const FEED_MESSAGE = "lakesync_feeds";

/** On every table that is followed. */
export const FEED_TRIGGER = "lakesync_feed";

type Refused = Parameters<ChangeFeed["settle"]>[2];

interface Entry {
  readonly id: string;
  readonly op: "I" | "U" | "D";
  readonly row_id: string;
  readonly state: string | null;
  readonly cells: string | null;
  readonly hlc: HlcText | null;
  /** Milliseconds before the reading. */
  readonly age: number;
}

/** Postgres's text of an array of digits. */
const arrayOf = (ids: readonly string[]): string => `{${ids.join(",")}}`;

export class PostgresFeed implements ChangeFeed {
  readonly #pool: PostgresPool;
  readonly #schema: string;

  /** The same options as the adapter's that flushes into the tables. */
  constructor(options: PostgresOptions) {
    this.#pool = new PostgresPool(options);
    this.#schema = options.schema ?? "public";
  }

  #name(name: string): string {
    return `${quote(this.#schema)}.${quote(name)}`;
  }

  /** Work on a table that the adapter has made; undefined where there is none. */
  async #record(client: pg.ClientBase, table: TableSchema): Promise<TableRecord | undefined> {
    return new PostgresSession(client, this.#schema).find(table.table);
  }

  async #followed(client: pg.ClientBase, table: TableSchema): Promise<TableRecord | undefined> {
    const record = await this.#record(client, table);
    const { rows } = await client.query<{ there: boolean }>("SELECT to_regclass($1) IS NOT NULL AS there", [
      this.#name("lakesync_feeds"),
    ]);
    return rows[0]?.there ? record : undefined;
  }

  follow(table: TableSchema): Promise<Result<void, LakeSyncError>> {
    return attempt(() =>
      this.#pool.transaction(async (client) => {
        const record = await this.#record(client, table);
        if (!record)
          throw new LakeSyncError("NotFound", `The database has no table ${table.table} yet; flush into it first.`, {
            table: table.table,
          });
        // One at a time, in this schema: CREATE ... IF NOT EXISTS is not safe beside itself.
        await client.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [this.#name("lakesync_feeds")]);
        await this.#prepare(client);
        const feeds = this.#name("lakesync_feeds");
        const insert = `INSERT INTO ${feeds} (table_id, client, last) VALUES ($1, $2, '') ON CONFLICT DO NOTHING`;
        const { rowCount } = await client.query(insert, [record.id, `sql-${crypto.randomUUID()}`]);
        if (rowCount !== 0) await this.#install(client, record);
      }),
    );
  }

  async #prepare(client: pg.ClientBase): Promise<void> {
    const foreign = this.#name("lakesync_foreign");
    const tombstones = this.#name("lakesync_tombstones");
    await client.query(`
      CREATE TABLE IF NOT EXISTS ${this.#name("lakesync_feeds")} (
        table_id integer PRIMARY KEY, client text NOT NULL, last text COLLATE "C" NOT NULL);
      CREATE TABLE IF NOT EXISTS ${foreign} (
        table_id integer NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
        op "char" NOT NULL, row_id text COLLATE "C" NOT NULL, state text, cells json, hlc text COLLATE "C", refused text,
        PRIMARY KEY (table_id, id));
      CREATE OR REPLACE FUNCTION ${this.#name("lakesync_feed")}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
      SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 SET bytea_output = hex SET TimeZone = 'UTC' AS $feed$
      DECLARE
        feed CONSTANT integer := TG_ARGV[0]::integer;
        changed json;
      BEGIN
        IF TG_OP = 'TRUNCATE' THEN
          EXECUTE format('INSERT INTO ${foreign.replaceAll("'", "''")} (table_id, op, row_id, state) SELECT $1, ''D'', "_id", "_stamps" FROM %s',
            TG_RELID::regclass) USING feed;
          RETURN NULL;
        END IF;
        IF TG_OP = 'UPDATE' THEN
          IF NEW."_id" = OLD."_id" THEN
            SELECT json_object_agg(n.key, n.value::text) INTO changed
              FROM json_each(to_json(NEW)) AS n JOIN json_each(to_json(OLD)) AS o ON o.key = n.key
              WHERE n.value::text <> o.value::text AND n.key NOT IN ('_id', '_stamps');
            IF changed IS NOT NULL THEN
              INSERT INTO ${foreign} (table_id, op, row_id, state, cells) VALUES (feed, 'U', NEW."_id", OLD."_stamps", changed);
            END IF;
            RETURN NULL;
          END IF;
        END IF;
        IF TG_OP <> 'INSERT' THEN
          INSERT INTO ${foreign} (table_id, op, row_id, state) VALUES (feed, 'D', OLD."_id", OLD."_stamps");
        END IF;
        IF TG_OP <> 'DELETE' THEN
          SELECT json_object_agg(n.key, n.value::text) INTO changed FROM json_each(to_json(NEW)) AS n
            WHERE n.value::text <> 'null' AND n.key NOT IN ('_id', '_stamps');
          INSERT INTO ${foreign} (table_id, op, row_id, state, cells)
            SELECT feed, 'I', NEW."_id", (SELECT state FROM ${tombstones} WHERE table_id = feed AND row_id = NEW."_id"),
              coalesce(changed, '{}');
        END IF;
        RETURN NULL;
      END $feed$;
      CREATE OR REPLACE FUNCTION ${this.#name("lakesync_tell")}() RETURNS trigger LANGUAGE plpgsql AS $tell$
      DECLARE
        mine CONSTANT pg_catalog.text := pg_catalog.pg_current_xact_id();
      BEGIN
        IF pg_catalog.current_setting('lakesync.told', true) IS DISTINCT FROM mine THEN
          PERFORM pg_catalog.pg_logical_emit_message(true, '${FEED_MESSAGE}', mine OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) TG_TABLE_SCHEMA);
          PERFORM pg_catalog.set_config('lakesync.told', mine, true);
        END IF;
        RETURN NULL;
      END $tell$;`);
    const { rowCount } = await client.query(
      "SELECT FROM pg_trigger WHERE tgrelid = $1::regclass AND tgname = 'lakesync_tell'",
      [foreign],
    );
    // Not CREATE OR REPLACE: that would wait for everybody who edits.
    if (rowCount === 0)
      await client.query(
        `CREATE TRIGGER lakesync_tell AFTER INSERT ON ${foreign} FOR EACH STATEMENT EXECUTE FUNCTION ${this.#name("lakesync_tell")}()`,
      );
  }

  /** Whoever writes the table waits until this has committed: no edit falls between the rows that are there and the trigger. */
  async #install(client: pg.ClientBase, record: TableRecord): Promise<void> {
    const table = this.#name(record.table);
    const calls = `EXECUTE FUNCTION ${this.#name("lakesync_feed")}('${Number(record.id)}')`;
    const unless = `WHEN (current_setting('${APPLIES}', true) IS DISTINCT FROM 'on')`;
    await client.query(`
      CREATE OR REPLACE TRIGGER ${FEED_TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON ${table} FOR EACH ROW ${unless} ${calls};
      CREATE OR REPLACE TRIGGER lakesync_feed_all BEFORE TRUNCATE ON ${table} FOR EACH STATEMENT ${unless} ${calls};
      SET LOCAL extra_float_digits = 1;
      SET LOCAL bytea_output = hex;
      SET LOCAL TimeZone = 'UTC';`);
    await client.query(
      `INSERT INTO ${this.#name("lakesync_foreign")} (table_id, op, row_id, cells)
       SELECT $1, 'I', t."_id", coalesce((SELECT json_object_agg(n.key, n.value::text) FROM json_each(to_json(t)) AS n
         WHERE n.value::text <> 'null' AND n.key NOT IN ('_id', '_stamps')), '{}')
       FROM ${table} AS t WHERE t."_stamps" IS NULL`,
      [record.id],
    );
  }

  unfollow(table: TableSchema): Promise<Result<void, LakeSyncError>> {
    return attempt(() =>
      this.#pool.transaction(async (client) => {
        const record = await this.#followed(client, table);
        if (!record) return;
        const name = this.#name(record.table);
        await client.query(`DROP TRIGGER IF EXISTS ${FEED_TRIGGER} ON ${name}`);
        await client.query(`DROP TRIGGER IF EXISTS lakesync_feed_all ON ${name}`);
        for (const own of ["lakesync_feeds", "lakesync_foreign"])
          await client.query(`DELETE FROM ${this.#name(own)} WHERE table_id = $1`, [record.id]);
      }),
    );
  }

  read(table: TableSchema, now: () => number): Promise<Result<ForeignEdits, LakeSyncError>> {
    return attempt(() =>
      this.#pool.transaction(async (client) => {
        const record = await this.#followed(client, table);
        const found = record && (await this.#lock(client, record));
        if (!record || !found)
          throw new LakeSyncError("NotFound", `The table ${table.table} is not followed in this database.`, {
            table: table.table,
          });
        const entries = await this.#entries(client, record);
        const clocks = await this.#stamp(client, record, entries, found.last, now());
        const edits = entries.map((entry, at): ForeignEdit => {
          const cells = entry.cells === null ? {} : cellsOfJson(entry.cells, record, table);
          return { id: entry.id, letter: entry.op, rowId: entry.row_id, hlc: clocks[at] as HlcText, cells };
        });
        const more = entries.length > 0 && (await this.#waitsAfter(client, record, entries.at(-1) as Entry));
        return { clientId: found.client as ClientId, edits, more };
      }),
    );
  }

  async #lock(client: pg.ClientBase, record: TableRecord): Promise<{ client: string; last: HlcText | "" } | undefined> {
    const select = `SELECT client, last FROM ${this.#name("lakesync_feeds")} WHERE table_id = $1 FOR UPDATE`;
    return (await client.query<{ client: string; last: HlcText | "" }>(select, [record.id])).rows[0];
  }

  async #entries(client: pg.ClientBase, record: TableRecord): Promise<Entry[]> {
    const { rows } = await client.query<Entry>(
      `SELECT id::text, op::text, row_id, state, cells::text, hlc, (extract(epoch FROM clock_timestamp() - at) * 1000)::float8 AS age
       FROM (SELECT *, sum(coalesce(length(cells::text), 0)) OVER (ORDER BY id) - coalesce(length(cells::text), 0) AS before
         FROM (SELECT * FROM ${this.#name("lakesync_foreign")} WHERE table_id = $1 AND refused IS NULL ORDER BY id LIMIT $2) AS page) AS sized
       WHERE before < $3 ORDER BY sized.id`,
      [record.id, FOREIGN_EDITS, FOREIGN_CHARS],
    );
    return rows;
  }

  async #waitsAfter(client: pg.ClientBase, record: TableRecord, { id }: Entry): Promise<boolean> {
    const { rows } = await client.query<{ more: boolean }>(
      `SELECT EXISTS (SELECT FROM ${this.#name("lakesync_foreign")} WHERE table_id = $1 AND id > $2 AND refused IS NULL) AS more`,
      [record.id, id],
    );
    return rows[0]?.more === true;
  }

  /** Clocks are kept before anybody sees them: whoever reads the same entries again says the same. */
  async #stamp(
    client: pg.ClientBase,
    record: TableRecord,
    entries: readonly Entry[],
    newest: HlcText | "",
    nowMs: number,
  ): Promise<HlcText[]> {
    let last = newest;
    const fresh: { id: string; hlc: HlcText }[] = [];
    const clocks = entries.map(({ id, hlc, age, state }) => {
      if (hlc !== null) return hlc;
      last = foreignClock(nowMs - Math.max(0, age), newestSeen(state, record), last);
      fresh.push({ id, hlc: last });
      return last;
    });
    if (fresh.length === 0) return clocks;
    await client.query(
      `UPDATE ${this.#name("lakesync_foreign")} AS f SET hlc = n.hlc
       FROM unnest($2::bigint[], $3::text[]) AS n (id, hlc) WHERE f.table_id = $1 AND f.id = n.id`,
      [record.id, arrayOf(fresh.map(({ id }) => id)), arrayOf(fresh.map(({ hlc }) => hlc))],
    );
    const feeds = this.#name("lakesync_feeds");
    await client.query(`UPDATE ${feeds} SET last = $2 WHERE table_id = $1`, [record.id, last]);
    return clocks;
  }

  settle(table: TableSchema, taken: readonly string[], refused: Refused): Promise<Result<void, LakeSyncError>> {
    return attempt(() =>
      this.#pool.transaction(async (client) => {
        const record = await this.#followed(client, table);
        if (!record) return;
        const foreign = this.#name("lakesync_foreign");
        const gone = `DELETE FROM ${foreign} WHERE table_id = $1 AND id = ANY ($2::bigint[])`;
        await client.query(gone, [record.id, arrayOf(taken)]);
        if (refused.length > 0)
          await client.query(
            `UPDATE ${foreign} AS f SET refused = n.reason FROM unnest($2::bigint[], $3::text[]) AS n (id, reason)
             WHERE f.table_id = $1 AND f.id = n.id`,
            [record.id, arrayOf(refused.map(({ id }) => id)), refused.map(({ reason }) => reason)],
          );
      }),
    );
  }

  backlog(table: TableSchema): Promise<Result<Backlog | undefined, LakeSyncError>> {
    return attempt(() =>
      this.#pool.run(async (client) => {
        const record = await this.#followed(client, table);
        if (!record) return undefined;
        const { rows } = await client.query<Backlog & { followed: boolean }>(
          `SELECT EXISTS (SELECT FROM ${this.#name("lakesync_feeds")} WHERE table_id = $1) AS followed,
             count(*) FILTER (WHERE refused IS NULL)::int AS waiting, count(refused)::int AS refused,
             (extract(epoch FROM min(at) FILTER (WHERE refused IS NULL)) * 1000)::float8 AS "oldestMs",
             (array_agg(refused ORDER BY id DESC) FILTER (WHERE refused IS NOT NULL))[1] AS "lastRefusal"
           FROM ${this.#name("lakesync_foreign")} WHERE table_id = $1`,
          [record.id],
        );
        const { followed, ...backlog } = rows[0] as Backlog & { followed: boolean };
        return followed ? backlog : undefined;
      }),
    );
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
