/** What Cron starts (wrangler.toml, `[triggers]`). */
import type { Env } from "../durable-objects/index.ts";
import { planMaintenance } from "./maintenance.ts";
import { log } from "./middleware/log.ts";

export async function scheduled(_event: ScheduledController, env: Env): Promise<void> {
  const sent = await planMaintenance(env);
  if (sent > 0 && env.LOG_LEVEL !== "error") log("info", { event: "cron", maintenance: sent });
}
