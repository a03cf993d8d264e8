/**
 * What apps see of sync, the same whatever backend a gateway's tables are in: each test flushes between the devices' rounds, and
 * ends with the backend holding what the devices hold.
 */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { HttpTransport, LocalDB, SyncCoordinator } from "../../client/index.ts";
import { GatewayServer, type GatewayServerOptions } from "../../server/index.ts";

export interface ClientSuiteBackend {
  /** What the server is given for it; nothing for the lake. */
  readonly server?: Pick<GatewayServerOptions, "backends" | "config" | "adapter">;
  /** What tables name. */
  readonly name?: string;
  /** Whether it has secondaries or tiers, which are brought along after each flush. */
  readonly composed?: boolean;
  /** Row ids and titles that are in the backend, by row id. */
  titles(server: GatewayServer, table: string): Promise<[string, string | null][]>;
}

const COLUMNS = { title: "string", owner: "string", votes: "integer", done: "boolean", due: "timestamp" } as const;
export const CLIENT_SUITE_GATEWAY = "suite";

/** @param open called once, before the tests */
export function clientSuite(name: string, open: () => Promise<ClientSuiteBackend>): void {
  describe(`client with ${name}`, () => {
    let backend: ClientSuiteBackend;
    let server: GatewayServer;
    let tables = 0;

    beforeAll(async () => {
      backend = await open();
      server = new GatewayServer({
        port: 0,
        gatewayId: CLIENT_SUITE_GATEWAY,
        jwtSecret: "a secret for tests only, 32 bytes and more",
        persistence: "memory",
        ...backend.server,
        vars: { LOG_LEVEL: "error", FLUSH_AGE_MS: "600000" },
      });
      await server.start();
    });
    afterAll(() => server?.stop());

    async function ask(method: string, path: string, body?: unknown): Promise<unknown> {
      const response = await fetch(new URL(`/v1/${CLIENT_SUITE_GATEWAY}/admin/${path}`, server.url), {
        method,
        headers: {
          authorization: `Bearer ${await server.token({ sub: "root", role: "admin" })}`,
          "content-type": "application/json",
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      expect(response.status, `${method} ${path}`).toBe(200);
      return response.json();
    }

    const flush = async () => {
      const { shards } = (await ask("POST", "flush")) as { shards: { state: string; errors: string[] }[] };
      for (const { state, errors } of shards)
        expect([state, errors]).toEqual([expect.stringMatching(/^(flushed|empty)$/), []]);
      while (backend.composed && (await bringAlong())) {}
    };

    /** @returns whether somebody else is at it, or there is more to do */
    async function bringAlong(): Promise<boolean> {
      const { tables: runs } = (await ask("POST", "backends")) as { tables: Record<"ok" | "busy" | "more", boolean>[] };
      expect(runs.length).toBeGreaterThan(0);
      for (const run of runs) expect(run.busy || run.ok, JSON.stringify(run)).toBe(true);
      return runs.some(({ busy, more }) => busy || more);
    }

    /** A table that everybody sees, or each their own rows of it. */
    async function newTable(rows: "all" | "own" = "all"): Promise<string> {
      const table = `todos${++tables}`;
      const columns = Object.entries(COLUMNS).map(([column, type]) => ({ name: column, type }));
      await ask("PUT", `tables/${table}`, { columns, ...(backend.name !== undefined && { backend: backend.name }) });
      const filters = rows === "own" ? [{ column: "owner", op: "eq", value: "jwt:sub" }] : [];
      await ask("PUT", "sync-rules", { buckets: [{ name: "rows", tables: [table], filters }] });
      return table;
    }

    async function device(table: string, sub = "alice") {
      const schema = Object.fromEntries(Object.entries(COLUMNS).map(([column, type]) => [column, { type }]));
      const db = await LocalDB.open({ name: `device-${sub}`, backend: "memory", schema: { [table]: schema } });
      onTestFinished(() => db.close());
      const token = await server.token({ sub, role: "client" });
      const transport = new HttpTransport({ baseUrl: server.url.href, gatewayId: CLIENT_SUITE_GATEWAY, token });
      const sync = new SyncCoordinator(db, transport);
      const rows = () => db.query<Record<string, unknown>>(`SELECT * FROM ${table} ORDER BY id`);
      const titles = async () => (await rows()).map(({ id, title }) => [id, title]);
      return { tracker: sync.tracker, sync: () => sync.syncOnce(), rejections: () => sync.rejections(), rows, titles };
    }

    test("[C1] what a device writes others see, flushed or not, and the backend holds it", async () => {
      const table = await newTable();
      const [a, b] = [await device(table), await device(table, "bob")];
      await a.tracker.insert(table, "r1", {
        title: "one 🎬",
        votes: 2 ** 40,
        done: true,
        due: "2026-01-01T00:00:00.123456Z",
      });
      await a.tracker.insert(table, "r2", { title: "two" });
      await a.sync();
      await b.sync();
      expect(await b.rows()).toEqual(await a.rows());
      await flush();
      await b.tracker.update(table, "r1", { title: null });
      await b.tracker.delete(table, "r2");
      await b.tracker.insert(table, "r3", { title: "three" });
      await b.sync();
      await flush();
      await a.sync();
      expect(await a.rows()).toEqual(await b.rows());
      expect(await a.titles()).toEqual(await backend.titles(server, table));
      expect(await a.titles()).toEqual([
        ["r1", null],
        ["r3", "three"],
      ]);
    });

    test("[M2] [M3] devices that were offline at once agree, with a flush between them", async () => {
      const table = await newTable();
      const [a, b] = [await device(table), await device(table, "bob")];
      for (const id of ["same", "other", "gone"]) await a.tracker.insert(table, id, { title: id, votes: 0 });
      await a.sync();
      await b.sync();
      await flush();
      await a.tracker.update(table, "same", { title: "of a" });
      await a.tracker.update(table, "other", { title: "of a" });
      await a.tracker.update(table, "gone", { title: "of a" });
      await b.tracker.update(table, "same", { title: "of b" });
      await b.tracker.update(table, "other", { votes: 7 });
      await b.tracker.delete(table, "gone");
      await b.sync();
      await flush();
      await a.sync();
      await flush();
      await b.sync();
      expect(await a.rows()).toEqual(await b.rows());
      expect(await a.titles()).toEqual([
        ["other", "of a"],
        ["same", "of b"],
      ]);
      expect(await backend.titles(server, table)).toEqual(await a.titles());
    });

    test("[PL4] rows come and go with what a user may see, and a device that begins after the flush has the same", async () => {
      const table = await newTable("own");
      const [alice, bob] = [await device(table), await device(table, "bob")];
      for (let at = 0; at < 300; at++)
        await alice.tracker.insert(table, `r${String(at).padStart(3, "0")}`, { title: `t${at}`, owner: "alice" });
      await alice.sync();
      await flush();
      await bob.sync();
      expect(await bob.rows()).toEqual([]);
      await ask("PUT", "sync-rules", {
        buckets: [
          { name: "rows", tables: [table], filters: [{ column: "owner", op: "eq", value: "jwt:sub" }], write: [] },
        ],
      });
      await alice.tracker.update(table, "r000", { owner: "bob" });
      await alice.sync();
      await flush();
      await bob.sync();
      expect(await bob.titles()).toEqual([["r000", "t0"]]);
      expect(await alice.titles()).toHaveLength(299);
      const late = await device(table);
      await late.sync();
      expect(await late.rows()).toEqual(await alice.rows());
      expect(await backend.titles(server, table)).toHaveLength(300);
    });

    test("[C6] what a gateway refuses is taken back on the device, and the backend never has it", async () => {
      const table = await newTable("own");
      const alice = await device(table);
      await alice.tracker.insert(table, "mine", { title: "mine", owner: "alice" });
      await alice.tracker.insert(table, "theirs", { title: "theirs", owner: "bob" });
      await alice.sync();
      await flush();
      expect(await alice.titles()).toEqual([["mine", "mine"]]);
      expect(await alice.rejections()).toMatchObject([{ rowId: "theirs", code: "WriteForbidden" }]);
      expect(await backend.titles(server, table)).toEqual([["mine", "mine"]]);
    });
  });
}
