/**
 * What the app needs of a gateway: tables and rules (gateway.json), something to look at (seeds.ts), and a token for each
 * user. For a gateway that runs already, with its JWT_SECRET in the environment or in .dev.vars:
 *
 *   node examples/todo/setup.ts http://localhost:8787
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SignJWT } from "jose";
import { HttpTransport, LocalDB, SyncCoordinator } from "../../client/index.ts";
import { developmentSecret } from "../../scripts/secret.ts";
import { buildApp } from "./build.ts";
import { SEEDS, type SeedList } from "./seeds.ts";

/** The app's tenant. */
export const GATEWAY_ID = "todo";

/** A gateway, and whoever signs its tokens. */
interface Gateway {
  readonly url: URL;
  token(claims: Readonly<Record<string, unknown>>, expires?: string): Promise<string>;
}

const tokenOf = (gateway: Pick<Gateway, "token">, sub: string, role = "client") =>
  gateway.token({ gw: GATEWAY_ID, sub, role }, "30d");

/**
 * Builds the app into the directory that a gateway is going to serve, and puts a token for each user beside it, as a
 * backend that has signed them in would hand out. Before the gateway starts: it looks at the directory only then.
 */
export async function prepareApp(gateway: Pick<Gateway, "token">, directory: string): Promise<void> {
  await buildApp(directory);
  await mkdir(join(directory, "session"), { recursive: true });
  for (const user of Object.keys(SEEDS)) {
    const token = await tokenOf(gateway, user);
    await writeFile(join(directory, "session", `${user}.json`), JSON.stringify({ token }));
  }
}

/** Tables, rules and the first rows, in a gateway that runs. */
export async function setUpTodo(gateway: Gateway): Promise<void> {
  const { tables, rules } = JSON.parse(await readFile(join(import.meta.dirname, "gateway.json"), "utf8"));
  const authorization = `Bearer ${await tokenOf(gateway, "operator", "admin")}`;
  const put = async (path: string, body: unknown) => {
    const response = await fetch(new URL(`/v1/${GATEWAY_ID}/admin/${path}`, gateway.url), {
      method: "PUT",
      headers: { authorization, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`PUT ${path} answered ${response.status}: ${await response.text()}`);
  };
  for (const [table, columns] of Object.entries(tables)) await put(`tables/${table}`, { columns });
  await put("sync-rules", rules);
  for (const [user, lists] of Object.entries(SEEDS)) {
    const token = await tokenOf(gateway, user);
    const transport = new HttpTransport({ baseUrl: gateway.url.origin, gatewayId: GATEWAY_ID, token });
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

if (import.meta.main) {
  const [address] = process.argv.slice(2);
  const secret = process.env.JWT_SECRET ?? developmentSecret();
  if (!address || !secret) throw new Error("usage: JWT_SECRET=... node examples/todo/setup.ts http://localhost:8787");
  const token: Gateway["token"] = (claims, expires = "1d") =>
    new SignJWT({ ...claims })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime(expires)
      .sign(new TextEncoder().encode(secret));
  await setUpTodo({ url: new URL(address), token });
  console.log(`Set up. Tokens: npm run token -- --gw ${GATEWAY_ID} --sub alice --exp 30d`);
}
