/** What Cron starts (wrangler.toml, `[triggers]`). */
import type { Env } from "../durable-objects/index.ts";
import { planFeeds } from "./feeds.ts";
import { planMaintenance } from "./maintenance.ts";
import { log } from "./middleware/log.ts";

/** Comes for feeds alone; the other for all there is. */
const FEEDS_CRON = "* * * * *";

export async function scheduled({ cron }: ScheduledController, env: Env): Promise<void> {
  await planFeeds(env);
  if (cron === FEEDS_CRON) return;
  const sent = await planMaintenance(env);
  if (sent > 0 && env.LOG_LEVEL !== "error") log("info", { event: "cron", maintenance: sent });
}
