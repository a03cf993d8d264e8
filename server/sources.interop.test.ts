/** Rows of a real MariaDB that clients pull by a source's name, through a gateway in workerd and its Hyperdrive binding. */
import { createConnection } from "mysql2/promise";
import { expect, onTestFinished, test } from "vitest";
import { startMariadb } from "../adapters/testing.ts";
import { defineConfig } from "../schemas/index.ts";
import { GatewayServer } from "./index.ts";

const GATEWAY = "shop";
const SALES = {
  backend: "warehouse",
  columns: { owner: "string", price: "number", sold: "timestamp", scan: "bytes" },
  rows: [[{ column: "owner", op: "eq", value: "jwt:sub" }]],
};
const sources = {
  // In the database that is called as the gateway.
  sales: { ...SALES, table: "sales", key: "id", gateways: [GATEWAY] },
  asked: { ...SALES, query: "SELECT * FROM shop.sales WHERE id > 1", key: "id", gateways: [GATEWAY] },
  elsewhere: { ...SALES, table: "sales", key: "id", gateways: ["attic"] },
  counted: {
    backend: "warehouse",
    query: "SELECT seq AS n FROM seq_1_to_1200",
    key: "n",
    columns: { n: "integer" },
    gateways: [GATEWAY],
    rows: [[]],
  },
};

test.skipIf(process.env.LAKESYNC_WITHOUT_MARIADB === "1")(
  "[PL6] [PL7] [S3] a client pulls its own rows of a table and of a query in MariaDB, page by page; claims are values",
  async () => {
    const mariadb = await startMariadb();
    onTestFinished(() => mariadb.stop());
    const connection = await createConnection({ uri: mariadb.url, multipleStatements: true });
    onTestFinished(() => connection.end());
    await connection.query(`CREATE DATABASE shop; CREATE TABLE shop.sales
      (id int PRIMARY KEY, owner varchar(40) COLLATE utf8mb4_general_ci, price decimal(9, 2), sold datetime, scan blob)
      CHARACTER SET utf8mb4`);
    await connection.query("INSERT INTO shop.sales VALUES ?", [
      [
        [1, "alice", 9.5, "2026-01-31 00:00:00", Buffer.from([0, 255])],
        [2, "ALICE", 1, null, null],
        [3, "x' OR true -- ", 2, null, null],
        [10, "alice", null, null, null],
      ],
    ]);
    const server = new GatewayServer({
      port: 0,
      gatewayId: GATEWAY,
      jwtSecret: "a secret for tests only, 32 bytes and more",
      persistence: "memory",
      backends: { WAREHOUSE: mariadb.url },
      config: defineConfig({ backends: { warehouse: { type: "mysql", binding: "WAREHOUSE" } }, sources } as never),
      vars: { LOG_LEVEL: "error" },
    });
    await server.start();
    onTestFinished(() => server.stop());
    const pull = async (sub: string, body: Record<string, unknown>) => {
      const response = await fetch(new URL(`/v1/${GATEWAY}/pull`, server.url), {
        method: "POST",
        headers: { authorization: `Bearer ${await server.token({ sub })}`, "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
      return (await response.json()) as any;
    };
    const ids = async (sub: string, source: string) =>
      (await pull(sub, { source })).rows.map(({ rowId }: { rowId: string }) => rowId);

    const { rows } = await pull("alice", { source: "sales" });
    expect(rows[0]).toMatchObject({
      rowId: "1",
      columns: [
        { column: "owner", value: "alice" },
        { column: "price", value: 9.5 },
        { column: "sold", value: { timestamp: "2026-01-31T00:00:00.000Z" } },
        { column: "scan", value: { bytes: "AP8=" } },
      ],
    });
    expect(await ids("alice", "sales")).toEqual(["1", "10"]);
    expect(await ids("alice", "asked")).toEqual(["10"]);
    expect(await ids("Alice", "sales")).toEqual([]);
    expect(await ids("x' OR true -- ", "sales")).toEqual(["3"]);
    for (const sub of ["\\", "\\' OR 1=1 #", "'; DROP TABLE shop.sales; --", "?"])
      expect(await ids(sub, "sales")).toEqual([]);
    expect((await pull("alice", { source: "elsewhere" })).error.code).toBe("NotFound");

    const seen: string[] = [];
    for (let cursor = "", more = true; more; ) {
      const page = await pull("alice", { source: "counted", ...(cursor && { cursor }) });
      seen.push(...page.rows.map(({ rowId }: { rowId: string }) => rowId));
      ({ cursor, hasMore: more } = page);
    }
    expect(seen).toEqual(Array.from({ length: 1200 }, (_, n) => String(n + 1)));
  },
);
