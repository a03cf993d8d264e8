import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { sqlStoreContract } from "../core/testing.ts";
import type { Env } from "./env.ts";
import { DurableSqlStore } from "./sql-store.ts";

let count = 0;

sqlStoreContract("Durable Object", async (body) => {
  const stub = (env as unknown as Env).SHARD.getByName(`contract-${++count}`);
  await runInDurableObject(stub, (_, state) => body(new DurableSqlStore(state.storage)));
});
