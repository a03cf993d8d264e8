/** Browsers may call from the origins that the configuration names, and from no other. */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import type { AppEnv } from "../context.ts";

const HEADERS = ["authorization", "content-type", "content-encoding", "accept", "x-request-id"];
/** What reading the lake takes: signed requests for ranges of files, and credentials for them. */
const LAKE_HEADERS = [
  "range",
  "x-amz-content-sha256",
  "x-amz-date",
  "x-amz-security-token",
  "x-iceberg-access-delegation",
];

/** By the configuration's text, which hardly ever changes. */
const handlers = new Map<string, MiddlewareHandler<AppEnv>>();

function handlerFor(origins: string): MiddlewareHandler<AppEnv> {
  const known = handlers.get(origins);
  if (known) return known;
  const allowed = origins
    .split(",")
    .map((o) => o.trim())
    .filter(Boolean);
  const handler = cors({
    origin: (origin) => (allowed.includes(origin) ? origin : null),
    allowMethods: ["GET", "HEAD", "POST", "PUT"],
    allowHeaders: [...HEADERS, ...LAKE_HEADERS],
    exposeHeaders: ["x-request-id", "retry-after", "etag", "content-range", "accept-ranges"],
    maxAge: 3600,
  });
  handlers.set(origins, handler);
  return handler;
}

/** A program, or a page of the gateway's own origin, names no origin; its answer is made once, not copied for each header. */
export const crossOrigin: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (c.req.header("origin") !== undefined) return handlerFor(c.env.CORS_ORIGINS ?? "")(c, next);
  await next();
  if (c.res.status !== 101) c.res.headers.append("vary", "origin");
};
