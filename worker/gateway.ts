/**
 * `lakesync/gateway`: the gateway to embed in a Worker of your own. Export the classes beside it, and declare the bindings
 * of wrangler.toml. What fails is answered over HTTP with a code from the closed list; nothing here throws at its caller.
 *
 *   export { Catalogue, Hub, Shard, Tenant } from "lakesync/gateway";
 *   export default createGateway();
 */
import type { Env, FlushMessage } from "../durable-objects/index.ts";
import { createApp } from "./app.ts";
import { consume } from "./flush.ts";

export { Catalogue, type Env, Hub, Shard, Tenant } from "../durable-objects/index.ts";

/** Handlers of HTTP requests and of the flush queue. */
export function createGateway(): Required<Pick<ExportedHandler<Env, FlushMessage>, "fetch" | "queue">> {
  const app = createApp();
  return { fetch: (request, env, ctx) => app.fetch(request, env, ctx), queue: consume };
}
