/** Ordering and durability: the Durable Object classes, and the road to them. */
export { forGateway, type Grant, verifyToken } from "./auth.ts";
export { Catalogue } from "./catalogue/index.ts";
export { catalogueServer } from "./catalogue/stub.ts";
export { type CursorPart, encodeCursor } from "./cursor.ts";
export { type Env, type FeedMessage, type FlushMessage, lakeLocation, type MaintenanceMessage } from "./env.ts";
export { GRANT_HEADER, Hub, packGrant, SUBPROTOCOL } from "./hub/index.ts";
export { Router } from "./router.ts";
export { ask, call, type Plain } from "./rpc.ts";
export { Shard, type ShardAddress } from "./shard/index.ts";
export { REGISTRY, Tenant } from "./tenant/index.ts";
