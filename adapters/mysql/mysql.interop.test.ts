/** The contract of destinations, kept by a real MariaDB; and what operators are told when something is wrong there. */
import { createConnection } from "mysql2/promise";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { databaseAdapterContract, FlushScript } from "../../core/testing.ts";
import { unwrap } from "../../schemas/index.ts";
import { startMariadb, type TestMariadb, TODOS } from "../testing.ts";
import { MySQLAdapter, type MySQLOptions } from "./index.ts";

let mariadb: TestMariadb;
let databases = 0;
const freshDatabase = () => `contract_${++databases}`;

describe.skipIf(process.env.LAKESYNC_WITHOUT_MARIADB === "1")("MariaDB", () => {
  beforeAll(async () => {
    mariadb = await startMariadb();
  });
  afterAll(() => mariadb?.stop());

  databaseAdapterContract("MySQL", () => {
    const schema = freshDatabase();
    return { open: () => new MySQLAdapter({ connectionString: mariadb.url, schema }) };
  });

  const script = () =>
    new FlushScript(TODOS).edit("INSERT", "a", { title: "one" }).edit("INSERT", "b", { title: "two" });

  function adapterOf(options: Partial<MySQLOptions> = {}): MySQLAdapter {
    const adapter = new MySQLAdapter({ connectionString: mariadb.url, schema: freshDatabase(), ...options });
    onTestFinished(() => adapter.close());
    return adapter;
  }

  async function admin(...statements: string[]): Promise<Record<string, unknown>[]> {
    const connection = await createConnection(mariadb.url);
    try {
      let rows: unknown = [];
      for (const statement of statements) [rows] = await connection.query(statement);
      return rows as Record<string, unknown>[];
    } finally {
      await connection.end();
    }
  }

  async function flush(adapter: MySQLAdapter, batch = script().batch()) {
    const ready = await adapter.ensureSchema(batch.table);
    return ready.ok ? adapter.insertDeltas(batch) : ready;
  }

  const fails = (code: string, message: RegExp) => ({
    ok: false,
    error: { code, message: expect.stringMatching(message) },
  });

  test("[F2] a server that is not there, a wrong password, a missing database are named, and nothing secret is", async () => {
    const port = new URL(mariadb.url).port;
    const away = adapterOf({ connectionString: "mysql://root:hunter2@127.0.0.1:9/test", name: "WAREHOUSE" });
    const result = await flush(away);
    expect(result).toMatchObject(fails("DestinationUnavailable", /^WAREHOUSE is not available.*host and port/));
    expect(JSON.stringify(result)).not.toContain("hunter2");
    const stranger = adapterOf({ connectionString: `mysql://mallory:x@127.0.0.1:${port}/test` });
    expect(await flush(stranger)).toMatchObject(fails("DestinationUnavailable", /user or password/));
    const nowhere = adapterOf({ connectionString: `mysql://tester:tester@127.0.0.1:${port}/nowhere` });
    expect(await flush(nowhere)).toMatchObject(fails("DestinationUnavailable", /does not exist; create it/));
  });

  test("[F2] a read-only server keeps the flush waiting, and takes it once it may be written", async () => {
    const schema = freshDatabase();
    const user = `writer_${databases}`;
    await admin(`CREATE USER ${user}@'%'`, `GRANT ALL ON ${schema}.* TO ${user}@'%'`);
    const url = new URL(mariadb.url);
    url.username = user;
    url.password = "";
    url.pathname = "/";
    const adapter = adapterOf({ connectionString: url.href, schema });
    unwrap(await adapter.ensureSchema(TODOS));
    await admin("SET GLOBAL read_only = ON");
    try {
      expect(await flush(adapter)).toMatchObject(fails("DestinationUnavailable", /read-only/));
    } finally {
      await admin("SET GLOBAL read_only = OFF");
    }
    expect(unwrap(await flush(adapter))).toMatchObject({ rows: 2, deltas: 2 });
  });

  test("[F3] a table that somebody else made, or dropped, is named", async () => {
    const schema = freshDatabase();
    await admin(`CREATE DATABASE ${schema}`, `CREATE TABLE ${schema}.todos (id int)`);
    const adapter = adapterOf({ schema });
    expect(await flush(adapter)).toMatchObject(fails("DestinationRefused", /todos that LakeSync did not make/));
    await admin(`DROP TABLE ${schema}.todos`);
    unwrap(await adapter.ensureSchema(TODOS));
    await admin(`DROP TABLE ${schema}.todos`);
    expect(await flush(adapter)).toMatchObject(fails("DestinationRefused", /lakesync_tables/));
  });

  test("[S3] a server that does not read backslashes as escapes is not written to", async () => {
    await admin("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'");
    try {
      expect(await flush(adapterOf())).toMatchObject(fails("DestinationUnavailable", /NO_BACKSLASH_ESCAPES/));
    } finally {
      await admin("SET GLOBAL sql_mode = DEFAULT");
    }
  });

  test("ids that differ by a trailing space are two rows; the change log can be read by SQL", async () => {
    const schema = freshDatabase();
    const edits = new FlushScript(TODOS)
      .edit("INSERT", "a", { title: "one" })
      .edit("INSERT", "a ", { title: null })
      .edit("DELETE", "a");
    const adapter = adapterOf({ schema });
    unwrap(await flush(adapter, edits.batch()));
    expect(unwrap(await adapter.getLatestState({ table: TODOS, limit: 9 })).rowIds).toEqual(["a "]);
    const log = await admin(`SELECT _seq, _op, _id, _client_id, _cells FROM ${schema}.todos__changes ORDER BY _seq`);
    expect(log).toEqual([
      { _seq: 1, _op: "INSERT", _id: "a", _client_id: "c", _cells: '{"1":"one"}' },
      { _seq: 2, _op: "INSERT", _id: "a ", _client_id: "c", _cells: '{"1":null}' },
      { _seq: 3, _op: "DELETE", _id: "a", _client_id: "c", _cells: "{}" },
    ]);
  });
});
