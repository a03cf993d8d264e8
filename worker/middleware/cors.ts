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

export const crossOrigin: MiddlewareHandler<AppEnv> = (c, next) => {
  const allowed = (c.env.CORS_ORIGINS ?? "")
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
  return handler(c, next);
};
