/** The edge Worker: HTTP, the flush queue's consumer, cron. */
import type { Env, FlushMessage } from "../durable-objects/index.ts";
import { createApp } from "./app.ts";
import { consume } from "./flush.ts";

export { Catalogue, Hub, Shard, Tenant } from "../durable-objects/index.ts";

const app = createApp();

export default {
  fetch: app.fetch,
  queue: consume,
} satisfies ExportedHandler<Env, FlushMessage>;
