import { test } from "vitest";
import { PostgresAdapter } from "../../adapters/index.ts";
import { startPostgres } from "../../scripts/testing/postgres.ts";
import { killedInFlushes } from "./killed.ts";

test("[F1] [F2] PostgreSQL is killed twenty times in the middle of flushes: every acknowledged delta is there once", async () => {
  const postgres = await startPostgres({ quiet: true });
  const adapter = new PostgresAdapter({ connectionString: postgres.url });
  try {
    await killedInFlushes(postgres, adapter);
  } finally {
    await adapter.close();
    await postgres.stop();
  }
});
