/** The gateway's HTTP face. */
import { Hono } from "hono";
import type { AppEnv } from "./context.ts";
import { authenticated } from "./middleware/auth.ts";
import { crossOrigin } from "./middleware/cors.ts";
import { notFound, onError } from "./middleware/errors.ts";
import { requests } from "./middleware/log.ts";
import { adminRoutes } from "./routes/admin.ts";
import { dataRoutes } from "./routes/data.ts";

export function createApp(): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.onError(onError);
  app.notFound(notFound);
  app.use(requests);
  app.use(crossOrigin);
  app.get("/health", (c) => c.json({ status: "ok" }));
  app.use("/v1/:gatewayId/*", authenticated);
  app.route("/v1/:gatewayId/admin", adminRoutes);
  app.route("/v1/:gatewayId", dataRoutes);
  return app;
}
