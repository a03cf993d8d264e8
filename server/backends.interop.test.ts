/** A gateway whose tables are kept in a real MariaDB, through a Hyperdrive binding in workerd. */
import { createConnection } from "mysql2/promise";
import { expect, onTestFinished, test } from "vitest";
import { startMariadb } from "../adapters/testing.ts";
import { GatewayServer } from "./index.ts";

test.skipIf(process.env.LAKESYNC_WITHOUT_MARIADB === "1")(
  "[F1] pushes become rows of a MariaDB table, in a database of the gateway's own",
  async () => {
    const mariadb = await startMariadb();
    onTestFinished(() => mariadb.stop());
    const server = new GatewayServer({
      port: 0,
      gatewayId: "my-shop",
      jwtSecret: "a secret for tests only, 32 bytes and more",
      persistence: "memory",
      backends: { SHOP: mariadb.url },
      vars: { LOG_LEVEL: "error" },
    });
    await server.start();
    onTestFinished(() => server.stop());
    const admin = await server.token({ sub: "root", role: "admin" });
    const ask = async (method: string, path: string, body?: unknown) => {
      const response = await fetch(new URL(`/v1/my-shop/${path}`, server.url), {
        method,
        headers: { authorization: `Bearer ${admin}`, "content-type": "application/json" },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
      return (await response.json()) as any;
    };
    const columns = [
      { name: "title", type: "string" },
      { name: "raw", type: "bytes" },
      { name: "added", type: "timestamp" },
    ];
    await ask("PUT", "admin/tables/items", { columns, backend: "SHOP" });
    expect((await ask("GET", "admin/backends")).backends).toContainEqual({ name: "SHOP", kind: "mysql" });
    let edits = 0;
    const edit = (op: string, rowId: string, cells: Record<string, unknown> = {}) => ({
      op,
      table: "items",
      rowId,
      hlc: ((BigInt(Date.now() - 60_000) << 16n) + BigInt(++edits)).toString(),
      columns: Object.entries(cells).map(([column, value]) => ({ column, value })),
    });
    const push = (...deltas: unknown[]) => ask("POST", "push", { clientId: "client-1", deltas });
    const added = "2026-01-31T08:00:00.123456Z";
    await push(
      edit("INSERT", "a", { title: "it's \\ \"é🎬", raw: { bytes: "AAH/" }, added: { timestamp: added } }),
      edit("INSERT", "b", { title: "gone" }),
    );
    expect((await ask("POST", "admin/flush")).shards).toMatchObject([{ state: "flushed" }]);
    await push(edit("UPDATE", "a", { raw: null }), edit("DELETE", "b"), edit("INSERT", "c", { title: "new" }));
    expect((await ask("POST", "admin/flush")).shards).toMatchObject([{ state: "flushed" }]);

    const connection = await createConnection({ uri: mariadb.url, dateStrings: true });
    onTestFinished(() => connection.end());
    const [rows] = await connection.query("SELECT _id, title, raw, added FROM `my-shop`.items ORDER BY _id");
    expect(rows).toEqual([
      { _id: "a", title: "it's \\ \"é🎬", raw: null, added: "2026-01-31 08:00:00.123456" },
      { _id: "c", title: "new", raw: null, added: null },
    ]);
    const [log] = await connection.query("SELECT count(*) AS edits FROM `my-shop`.items__changes");
    expect(log).toEqual([{ edits: 5 }]);
  },
);
