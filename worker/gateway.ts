/**
 * `lakesync/gateway`: the gateway to embed in a Worker of your own. Export the classes beside it, and declare the bindings
 * of wrangler.toml. What fails is answered over HTTP with a code from the closed list; nothing here throws at its caller.
 *
 *   export { Catalogue, Hub, Shard, Tenant } from "lakesync/gateway";
 *   export default createGateway();
 */
import type { Env, FlushMessage, MaintenanceMessage } from "../durable-objects/index.ts";
import { createApp } from "./app.ts";
import { scheduled } from "./cron.ts";
import { consume } from "./flush.ts";
import { maintainAll } from "./maintenance.ts";

export { Catalogue, type Env, Hub, Shard, Tenant } from "../durable-objects/index.ts";

type Message = FlushMessage | MaintenanceMessage;

/** Handlers of HTTP requests, of the two queues and of Cron. */
export function createGateway(): Required<Pick<ExportedHandler<Env, Message>, "fetch" | "queue" | "scheduled">> {
  const app = createApp();
  return {
    fetch: (request, env, ctx) => app.fetch(request, env, ctx),
    async queue({ messages }, env) {
      const bodies = messages.map((message) => message.body);
      await consume(
        bodies.filter((body) => "shard" in body),
        env,
      );
      await maintainAll(
        bodies.filter((body) => "duty" in body),
        env,
      );
    },
    scheduled,
  };
}
