/** What tests do to a PostgreSQL beside the adapter. */
import pg from "pg";

/** Runs statements, one after the other, over a connection of its own. @returns rows of the last */
export async function onPostgres(url: string, ...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) ({ rows } = await client.query<Record<string, unknown>>(statement));
    return rows;
  } finally {
    await client.end();
  }
}

let databases = 0;
/** An empty database of a server. */
export async function freshDatabase(server: string): Promise<{ name: string; url: string }> {
  const name = `fresh_${process.pid}_${++databases}`;
  await onPostgres(server, `CREATE DATABASE ${name}`);
  return { name, url: Object.assign(new URL(server), { pathname: `/${name}` }).href };
}
