/** Which tables take in what others edit in their database; every route needs the admin role. */
import { Hono } from "hono";
import { z } from "zod";
import { TABLES_MAX } from "../../schemas/index.ts";
import type { AppEnv } from "../context.ts";
import { feedsOf, putFeeds, takeFeeds } from "../feeds.ts";
import { adminOnly } from "../middleware/auth.ts";
import { readJson } from "../middleware/body.ts";

export const feedRoutes = new Hono<AppEnv>();
feedRoutes.use(adminOnly);

const feedsSchema = z.strictObject({ tables: z.array(z.string().max(100)).max(TABLES_MAX) });

feedRoutes.get("/", async (c) => c.json({ feeds: await feedsOf(c.env, c.get("grant").gatewayId) }));

feedRoutes.put("/", async (c) => {
  const { gatewayId } = c.get("grant");
  const { tables } = await readJson(c, feedsSchema);
  await putFeeds(c.env, gatewayId, tables);
  return c.json({ feeds: await feedsOf(c.env, gatewayId) });
});

/** Takes in what waits, now. */
feedRoutes.post("/", async (c) => c.json({ feeds: await takeFeeds(c.env, c.get("grant").gatewayId) }));
