/** Push, pull and the socket: what devices use. */
import { create } from "@bufbuild/protobuf";
import { Hono } from "hono";
import { GRANT_HEADER, packGrant } from "../../durable-objects/index.ts";
import { LakeSyncError, parseIdentifier, proto, TABLES_MAX, unwrap } from "../../schemas/index.ts";
import { checkpointFor, chunkFor } from "../checkpoint/serve.ts";
import type { AppContext, AppEnv } from "../context.ts";
import { readMessage, sendMessage, wantsProtobuf } from "../middleware/body.ts";
import { knowsColumns, rowsOfPage } from "../rows.ts";
import { pullSource } from "../sources.ts";

export const dataRoutes = new Hono<AppEnv>();

dataRoutes.post("/push", async (c) => {
  wantsProtobuf(c); // an answer that cannot be given is refused before anything is done
  const request = await readMessage(c, proto.PushRequestSchema);
  const { gatewayId, claims } = c.get("grant");
  const answer = unwrap(await c.get("router").push(gatewayId, claims, request));
  return sendMessage(c, proto.PushResponseSchema, answer, { accepted: [], rejected: [] });
});

dataRoutes.post("/pull", async (c) => answerPull(c, await readMessage(c, proto.PullRequestSchema)));

/** For curl: `GET .../pull?cursor=...&tables=a,b&maxBytes=...` */
dataRoutes.get("/pull", async (c) => {
  const { cursor = "", tables = "", maxBytes = "0", source = "", clientId = "" } = c.req.query();
  if (!/^\d{1,9}$/.test(maxBytes))
    throw new LakeSyncError("BadRequest", '"maxBytes" has to be a whole number of bytes.');
  const names = tables.split(",").filter(Boolean);
  return answerPull(
    c,
    create(proto.PullRequestSchema, { cursor, tables: names, maxBytes: Number(maxBytes), source, clientId }),
  );
});

async function answerPull(c: AppContext, request: proto.PullRequest): Promise<Response> {
  wantsProtobuf(c);
  const { gatewayId, claims } = c.get("grant");
  if (request.source !== "") {
    const { page, table } = await pullSource(c.env, c.get("grant"), request);
    if (request.columnar && wantsProtobuf(c)) return sendMessage(c, proto.PullResponseSchema, page);
    return sendMessage(c, proto.PullResponseSchema, rowsOfPage(page, [table]), { rows: [], hasMore: false });
  }
  const router = c.get("router");
  const page = unwrap(await router.pull(gatewayId, claims, request));
  if (request.columnar && wantsProtobuf(c)) return sendMessage(c, proto.PullResponseSchema, page);
  let { tables, version } = unwrap(await router.state(gatewayId));
  // The page may know columns that were added since.
  if (!knowsColumns(tables, page)) ({ tables, version } = unwrap(await router.state(gatewayId, version)));
  return sendMessage(c, proto.PullResponseSchema, rowsOfPage(page, tables), { rows: [], hasMore: false });
}

/** What a device without data installs before it pulls; `?tables=a,b` as in a pull, `?older=true` for more than hot windows. */
dataRoutes.get("/checkpoint", async (c) => {
  const tables = (c.req.query("tables") ?? "").split(",").filter(Boolean);
  if (tables.length > TABLES_MAX)
    throw new LakeSyncError("TooLarge", `The request names more than ${TABLES_MAX} tables.`, { limit: TABLES_MAX });
  for (const name of tables) parseIdentifier("table name", name);
  c.header("cache-control", "no-store");
  const older = c.req.query("older") === "true";
  return c.json(await checkpointFor(c.env, c.get("router"), c.get("grant"), tables, older));
});

dataRoutes.get("/checkpoint/:chunk", (c) =>
  chunkFor(c.env, c.get("router"), c.get("grant"), c.req.param("chunk"), c.req.raw.headers),
);

dataRoutes.get("/ws", (c) => {
  if (c.req.header("upgrade")?.toLowerCase() !== "websocket")
    throw new LakeSyncError(
      "BadRequest",
      "This route speaks WebSocket: connect with `new WebSocket(url, ['lakesync.v1', 'bearer.' + token])`.",
    );
  const grant = c.get("grant");
  const headers = new Headers(c.req.raw.headers);
  headers.set(GRANT_HEADER, packGrant(grant));
  return c.env.HUB.getByName(grant.gatewayId).fetch(new Request(c.req.raw, { headers }));
});
