import pg from "pg";
import { expect, inject, test } from "vitest";

test("the tests talk to a PostgreSQL 18 over TCP", async () => {
  const client = new pg.Client({ connectionString: inject("postgresUrl") });
  await client.connect();
  try {
    const { rows } = await client.query("select version() as version, current_setting('server_encoding') as encoding");
    expect(rows[0].version).toMatch(/^PostgreSQL 18\./);
    expect(rows[0].encoding).toBe("UTF8");
  } finally {
    await client.end();
  }
});
