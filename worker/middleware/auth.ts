/** The tenant comes from the verified token and from nowhere else (S1); admin routes need the admin role (S2). */
import type { MiddlewareHandler } from "hono";
import { forGateway, type Grant, SUBPROTOCOL, verifyToken } from "../../durable-objects/index.ts";
import { LakeSyncError, parseGatewayId, unwrap } from "../../schemas/index.ts";
import type { AppContext, AppEnv } from "../context.ts";

const BEARER = "bearer.";

/** From the Authorization header, or, for WebSockets in browsers, which cannot set it, from a subprotocol `bearer.<token>`. */
function tokenOf(c: AppContext): string {
  const header = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
  if (header) return header;
  const offered =
    c.req
      .header("sec-websocket-protocol")
      ?.split(",")
      .map((p) => p.trim()) ?? [];
  const token = offered.includes(SUBPROTOCOL) && offered.find((p) => p.startsWith(BEARER));
  if (token) return token.slice(BEARER.length);
  throw new LakeSyncError(
    "Unauthenticated",
    "The request carries no token; send it as `Authorization: Bearer <token>`.",
  );
}

export async function grantOf(c: AppContext): Promise<Grant> {
  return unwrap(await verifyToken(c.env, tokenOf(c)));
}

/** For routes below /v1/{gatewayId}. */
export const authenticated: MiddlewareHandler<AppEnv> = async (c, next) => {
  const gatewayId = parseGatewayId(c.req.param("gatewayId") ?? "");
  c.set("grant", unwrap(forGateway(await grantOf(c), gatewayId)));
  await next();
};

export const adminOnly: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (c.get("grant").claims.role !== "admin")
    throw new LakeSyncError("Forbidden", 'This route needs a token with "role": "admin".');
  await next();
};
