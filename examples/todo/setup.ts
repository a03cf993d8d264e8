/** What the app needs of a gateway: its files and a token for each user beside them, tables and rules, something to look at. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { HttpTransport, LocalDB, SyncCoordinator } from "../../client/index.ts";
import type { GatewayServer } from "../../server/index.ts";
import { buildApp } from "./build.ts";
import { SEEDS, type SeedList } from "./seeds.ts";

/**
 * Builds the app into the directory that the server is going to serve, and puts a token for each user beside it, as a
 * backend that has signed them in would hand out. Before the server starts: it looks at the directory only then.
 */
export async function prepareApp(server: GatewayServer, directory: string): Promise<void> {
  await buildApp(directory);
  await mkdir(join(directory, "session"), { recursive: true });
  for (const user of Object.keys(SEEDS)) {
    const token = await server.token({ sub: user }, "30d");
    await writeFile(join(directory, "session", `${user}.json`), JSON.stringify({ token }));
  }
}

/** Tables, rules and the first rows, in a running gateway. */
export async function setUpTodo(server: GatewayServer, gatewayId: string): Promise<void> {
  const { tables, rules } = JSON.parse(await readFile(join(import.meta.dirname, "gateway.json"), "utf8"));
  const authorization = `Bearer ${await server.token({ sub: "operator", role: "admin" })}`;
  const admin = async (method: "GET" | "PUT", path: string, body?: unknown) => {
    const response = await fetch(new URL(`/v1/${gatewayId}/admin/${path}`, server.url), {
      method,
      headers: { authorization, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (response.ok) return (await response.json()) as { buckets?: object[] };
    throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
  };
  for (const [table, columns] of Object.entries(tables)) await admin("PUT", `tables/${table}`, { columns });
  // Rules that other tables have stay.
  const { buckets = [] } = await admin("GET", "sync-rules");
  await admin("PUT", "sync-rules", { buckets: [...buckets, ...rules.buckets] });

  for (const [user, lists] of Object.entries(SEEDS)) {
    const token = await server.token({ sub: user });
    const transport = new HttpTransport({ baseUrl: server.url.origin, gatewayId, token });
    await seed(transport, tables, user, lists);
  }
}

/** The lists of one user, pushed as a device of theirs would. */
async function seed(
  transport: HttpTransport,
  tables: object,
  owner: string,
  lists: readonly SeedList[],
): Promise<void> {
  const schema = Object.fromEntries(
    Object.entries(tables).map(([table, columns]) => [
      table,
      Object.fromEntries(columns.map((column: { name: string }) => [column.name, column])),
    ]),
  );
  const db = await LocalDB.open({ name: `seed-${owner}`, backend: "memory", schema });
  const sync = new SyncCoordinator(db, transport);
  for (const { id, name, scope, rank, todos } of lists) {
    await sync.tracker.insert("lists", id, { name, scope, owner, rank });
    const rows = todos.map(([title, done = false], at) => {
      return [`${id}-${at + 1}`, { list: id, title, done, rank: at + 1, scope, owner }] as const;
    });
    await sync.tracker.insertMany("todos", rows);
  }
  await sync.syncOnce();
  await db.close();
}
