/** The gateway's HTTP face. */
import { Hono } from "hono";
import { catalogueServer, lakeLocation } from "../durable-objects/index.ts";
import type { AppContext, AppEnv } from "./context.ts";
import { authenticated, grantOf } from "./middleware/auth.ts";
import { crossOrigin } from "./middleware/cors.ts";
import { notFound, onError } from "./middleware/errors.ts";
import { log, requests } from "./middleware/log.ts";
import { openApi } from "./openapi.ts";
import { adminRoutes } from "./routes/admin.ts";
import { dataRoutes } from "./routes/data.ts";
import { feedRoutes } from "./routes/feeds.ts";
import { icebergRoutes } from "./routes/iceberg.ts";
import { s3Routes } from "./routes/s3.ts";
import { s3Config } from "./s3/config.ts";

export function createApp(): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.onError(onError);
  app.use(requests);
  app.use(crossOrigin);
  app.get("/health", (c) => c.json({ status: "ok" }));
  app.get("/openapi.json", (c) => c.json(openApi()));
  app.use("/v1/:gatewayId/*", authenticated);
  app.route("/v1/:gatewayId/admin/feeds", feedRoutes);
  app.route("/v1/:gatewayId/admin", adminRoutes);
  app.route("/v1/:gatewayId", dataRoutes);
  app.route("/iceberg", catalogueRoutes());
  app.route("/s3", s3Routes);
  app.notFound(notFound(methodsOf(app)));
  return app;
}

/** Which methods a path answers, by the routes of an app; middleware is no route. */
function methodsOf(app: Hono<AppEnv>): (path: string) => string[] {
  const routes = app.routes.filter((r) => r.method !== "ALL");
  const patterns = routes.map(({ method, path }) => ({
    method,
    pattern: new RegExp(`^${path.replace(/:[^/]+/g, "[^/]+")}$`),
  }));
  return (path) => {
    const methods = new Set(patterns.filter((p) => p.pattern.test(path)).map((p) => p.method));
    return [...(methods.has("GET") ? ["GET", "HEAD"] : []), ...[...methods].filter((m) => m !== "GET").sort()];
  };
}

function catalogueRoutes(): Hono {
  return icebergRoutes({
    async requireGateway(c) {
      const { gatewayId, claims } = await grantOf(c as AppContext);
      return { gatewayId, role: String(claims.role) };
    },
    delegate: async (c) => {
      const { env, req } = c as AppContext;
      const grant = await grantOf(c as AppContext);
      const config = await s3Config(env, new URL(req.url).origin, grant);
      return config && { prefix: `${lakeLocation(env)}/${grant.gatewayId}/`, config };
    },
    catalogueFor: (gatewayId, c) => catalogueServer((c as AppContext).env, gatewayId),
    report: (error, c) =>
      log("error", { requestId: c.get("requestId"), path: c.req.path, error: error.stack ?? String(error) }),
  });
}
