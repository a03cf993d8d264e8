/**
 * `lakesync/gateway`: the gateway to embed in a Worker of your own. Export the classes beside it, and declare the bindings
 * of wrangler.toml. What fails is answered over HTTP with a code from the closed list.
 *
 *   import config from "./lakesync.config.ts";
 *   export { Catalogue, Hub, Shard, Tenant } from "lakesync/gateway";
 *   export default createGateway({ config });
 */
import type { Env, FeedMessage, FlushMessage, MaintenanceMessage } from "../durable-objects/index.ts";
import { type LakeSyncConfig, parseGatewayConfig } from "../schemas/index.ts";
import { createApp } from "./app.ts";
import { scheduled } from "./cron.ts";
import { takeAll } from "./feeds.ts";
import { consume } from "./flush.ts";
import { maintainAll } from "./maintenance.ts";

export { Catalogue, type Env, Hub, Shard, Tenant } from "../durable-objects/index.ts";

type Message = FlushMessage | FeedMessage | MaintenanceMessage;

export interface GatewayOptions {
  /** Backends, and which tables go there; the variable LAKESYNC_CONFIG goes before it. By default all tables are in the lake. */
  readonly config?: LakeSyncConfig;
}

/**
 * Handlers of HTTP requests, of the two queues and of Cron.
 * @throws `Misconfigured` when the configuration is wrong: a Worker that has such a one is not deployed
 */
export function createGateway({
  config,
}: GatewayOptions = {}): Required<Pick<ExportedHandler<Env, Message>, "fetch" | "queue" | "scheduled">> {
  if (config) parseGatewayConfig(config);
  const app = createApp();
  // One for each that there is: caches hang on it.
  const envs = new WeakMap<Env, Env>();
  const configured = (env: Env): Env => {
    const known = envs.get(env) ?? { ...(config && { LAKESYNC_CONFIG: config }), ...env };
    envs.set(env, known);
    return known;
  };
  return {
    fetch: (request, env, ctx) => app.fetch(request, configured(env), ctx),
    async queue({ messages }, bare) {
      const env = configured(bare);
      const bodies = messages.map((message) => message.body);
      await consume(
        bodies.filter((body) => "shard" in body),
        env,
      );
      await takeAll(
        bodies.filter((body) => "feeds" in body),
        env,
      );
      await maintainAll(
        bodies.filter((body) => "duty" in body),
        env,
      );
    },
    scheduled: (event, env) => scheduled(event, configured(env)),
  };
}
