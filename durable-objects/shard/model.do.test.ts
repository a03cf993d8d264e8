/** The same random schedules that the engine follows on node:sqlite (core/shard/model.test.ts), on a Durable Object's storage. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import fc from "fast-check";
import { test } from "vitest";
import { anySchedule, CRAMPED, ROOMY } from "../../core/testing.ts";
import type { Env } from "../env.ts";
import { DurableSqlStore } from "../sql-store.ts";

test.each([
  ["with room", ROOMY],
  ["with change lists that are dropped early", CRAMPED],
] as const)("[PL2] [PL4] [PL5] [PL8] [PU2] [F1] the engine in workerd, %s", async (name, limits) => {
  const stub = (env as unknown as Env).SHARD.getByName(`model ${name}`);
  await runInDurableObject(stub, (_, { storage }) =>
    fc.assert(anySchedule(new DurableSqlStore(storage), limits), { numRuns: 300 }),
  );
});
