/**
 * GET /openapi.json, made of what the gateway itself goes by: zod for admin bodies, the protobuf descriptors for data bodies
 * (canonical JSON mapping: camelCase names, 64-bit numbers as strings), the closed list of error codes. A test holds it
 * against the routes of the app.
 */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { z } from "zod";
import {
  COLUMN_TYPES,
  ERRORS,
  type ErrorCode,
  JSON_TYPE,
  PROTOBUF,
  proto,
  syncRulesSchema,
  tableDefinitionSchema,
} from "../schemas/index.ts";
import { ICEBERG_PATHS } from "./openapi-iceberg.ts";

export type JsonObject = { [key: string]: unknown };

const ref = (name: string): JsonObject => ({ $ref: `#/components/schemas/${name}` });

const LONGS: ReadonlySet<ScalarType> = new Set([
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
  ScalarType.SINT64,
]);

function scalar(type: ScalarType): JsonObject {
  if (LONGS.has(type)) return { type: "string", pattern: "^-?[0-9]+$", description: "A 64-bit number." };
  switch (type) {
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: "number" };
    default:
      return { type: "integer", minimum: type === ScalarType.UINT32 ? 0 : -(2 ** 31), maximum: 2 ** 32 - 1 };
  }
}

/** Messages of google.protobuf that have a JSON of their own. */
const WELL_KNOWN: Record<string, JsonObject> = {
  "google.protobuf.Value": ref("Value"),
  "google.protobuf.Struct": { type: "object", additionalProperties: true },
};

/** Schemas of a message and of all that it is made of, by name. */
function describe(message: DescMessage, into: JsonObject): JsonObject {
  const known = WELL_KNOWN[message.typeName];
  if (known) return known;
  if (!(message.name in into)) {
    into[message.name] = {};
    const properties = Object.fromEntries(message.fields.map((f) => [f.jsonName, field(f, into)]));
    into[message.name] = { type: "object", properties, additionalProperties: false };
  }
  return ref(message.name);
}

function field(f: DescField, into: JsonObject): JsonObject {
  const single = (): JsonObject => {
    if (f.message) return describe(f.message, into);
    if (f.enum) return { type: "string", enum: f.enum.values.filter((v) => v.number > 0).map((v) => v.name) };
    return scalar(f.scalar as ScalarType);
  };
  if (f.fieldKind === "list") return { type: "array", items: single() };
  return f.fieldKind === "map" ? { type: "object", additionalProperties: single() } : single();
}

const media = (schema: JsonObject, binary?: string): JsonObject => ({
  [JSON_TYPE]: { schema },
  ...(binary && { [PROTOBUF]: { schema: { type: "string", format: "binary", description: `lakesync.v1.${binary}` } } }),
});

const EVERYWHERE: readonly ErrorCode[] = ["MethodNotAllowed", "Internal"];
const SIGNED: readonly ErrorCode[] = [
  ...EVERYWHERE,
  ...(["BadIdentifier", "Unauthenticated", "Forbidden", "Misconfigured", "Unavailable"] as const),
];
const BODY: readonly ErrorCode[] = ["BadRequest", "TooLarge", "UnsupportedMediaType"];
const PULL: readonly ErrorCode[] = [
  ...SIGNED,
  ...(["BadRequest", "BadCursor", "CursorExpired", "ClientIdTaken", "NotFound", "NotAcceptable", "TooLarge"] as const),
];
/** Of a pull from a source, too. */
const SOURCE: readonly ErrorCode[] = ["DestinationRefused", "DestinationUnavailable"];
const PUSH: readonly ErrorCode[] = [
  ...SIGNED,
  ...BODY,
  ...(["ClientIdTaken", "NotAcceptable", "LogFull", "RateLimited", "ShardMoved"] as const),
];

/** Answers by status: the codes that share one, and the body that all have. */
function failures(codes: readonly ErrorCode[], binary: boolean): JsonObject {
  const byStatus = Map.groupBy(codes, (code) => ERRORS[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, some]) => [
      String(status),
      { description: `${some.join(", ")}.`, content: media(ref("Error"), binary ? "ErrorBody" : undefined) },
    ]),
  );
}

interface Operation {
  readonly id: string;
  readonly summary: string;
  readonly codes: readonly ErrorCode[];
  readonly body?: JsonObject;
  readonly answer?: JsonObject;
  readonly parameters?: readonly JsonObject[];
  readonly status?: number;
  /** Protobuf as well as JSON, errors included. */
  readonly binary?: boolean;
  readonly open?: boolean;
}

function operation({ id, summary, codes, body, answer, parameters, status = 200, binary = false, open }: Operation) {
  return {
    operationId: id,
    summary,
    ...(parameters && { parameters }),
    ...(body && { requestBody: { required: true, content: body } }),
    ...(open && { security: [] }),
    responses: { [status]: { description: "Done.", ...(answer && { content: answer }) }, ...failures(codes, binary) },
  };
}

const text = (name: string, description: string): JsonObject => ({
  name,
  in: "query",
  description,
  schema: { type: "string" },
});

function dataPaths(schemas: JsonObject): JsonObject {
  const message = (desc: DescMessage) => media(describe(desc, schemas), desc.name);
  const page = message(proto.PullResponseSchema);
  return {
    "/v1/{gatewayId}/push": {
      post: operation({
        id: "push",
        summary: "Edits in. Each delta is accepted, or refused by itself with a code and a sentence.",
        codes: PUSH,
        body: message(proto.PushRequestSchema),
        answer: message(proto.PushResponseSchema),
        binary: true,
      }),
    },
    "/v1/{gatewayId}/pull": {
      post: operation({
        id: "pull",
        summary: "A page of what the token may see and the cursor does not cover.",
        codes: [...PULL, ...SOURCE, "UnsupportedMediaType"],
        body: message(proto.PullRequestSchema),
        answer: page,
        binary: true,
      }),
      get: operation({
        id: "pullByQuery",
        summary: "The same, for curl.",
        codes: [...PULL, ...SOURCE],
        parameters: [
          text("cursor", "As an earlier page gave it; left out to start from nothing."),
          text("tables", "Names, with commas between; left out for all."),
          text("maxBytes", "About how large the page may be."),
          text("clientId", "Whose device asks."),
          text("source", "A named source instead of the gateway's own rows."),
        ],
        answer: page,
        binary: true,
      }),
    },
    "/v1/{gatewayId}/checkpoint": {
      get: operation({
        id: "checkpoint",
        summary: "What a device without data installs before it pulls: chunks, and the cursor to pull from afterwards.",
        codes: [...SIGNED, "BadIdentifier", "TooLarge", "RateLimited", "Unavailable"],
        parameters: [
          text("tables", "Names, with commas between; left out for all."),
          text("older", '"true" for rows as well that have left a hot window.'),
        ],
        answer: media(ref("Checkpoint")),
      }),
    },
    "/v1/{gatewayId}/checkpoint/{chunk}": {
      parameters: [{ name: "chunk", in: "path", required: true, schema: { type: "string" } }],
      get: operation({
        id: "chunk",
        summary: "A gzipped lakesync.v1.Chunk. One with a SHA-256 is for ever the same, and comes in ranges too.",
        codes: [...SIGNED, "CursorExpired", "RateLimited", "Unavailable"],
        answer: { "application/gzip": { schema: { type: "string", contentEncoding: "binary" } } },
      }),
    },
    "/v1/{gatewayId}/ws": {
      get: operation({
        id: "socket",
        summary:
          "A WebSocket of subprotocol lakesync.v1: binary frames of lakesync.v1.Frame. A browser hands its token over as a second subprotocol, `bearer.<token>`.",
        codes: [...SIGNED, "BadRequest", "RateLimited"],
        status: 101,
      }),
    },
  };
}

function adminPaths(): JsonObject {
  const table = { name: "table", in: "path", required: true, schema: { type: "string" } };
  const json = (name: string) => media(ref(name));
  return {
    "/v1/{gatewayId}/admin/tables": {
      get: operation({
        id: "listTables",
        summary: "The schemas of all tables.",
        codes: SIGNED,
        answer: media({ type: "object", properties: { tables: { type: "array", items: ref("Table") } } }),
      }),
    },
    "/v1/{gatewayId}/admin/tables/{table}/unflushed": {
      parameters: [table],
      post: operation({
        id: "unflushed",
        summary:
          "Edits that the lake does not have yet, by shard, after the seqs given; page by page up to the seqs answered first.",
        codes: [...SIGNED, ...BODY, "NotFound"],
        body: media({ type: "object", additionalProperties: true }),
        answer: media({ type: "object", properties: { shards: { type: "array", items: { type: "object" } } } }),
      }),
    },
    "/v1/{gatewayId}/admin/tables/{table}": {
      parameters: [table],
      put: operation({
        id: "putTable",
        summary: "Makes a table, adds nullable columns to it, moves it to other shards, or gives it a hot window.",
        codes: [...SIGNED, ...BODY, "BadConfig", "Conflict"],
        body: json("TableDefinition"),
        answer: json("Table"),
      }),
      get: operation({
        id: "getTable",
        summary: "A table's schema.",
        codes: [...SIGNED, "NotFound"],
        answer: json("Table"),
      }),
    },
    "/v1/{gatewayId}/admin/backends": {
      get: operation({
        id: "getBackends",
        summary: "The lake and the other backends that there are, by name, and which table is in which.",
        codes: SIGNED,
        answer: media({ type: "object", additionalProperties: true }),
      }),
      put: operation({
        id: "putBackends",
        summary: "Which backend tables go to, from the next flush on; what another backend has stays there.",
        codes: [...SIGNED, ...BODY, "BadConfig", "NotFound", "Conflict"],
        body: media({
          type: "object",
          required: ["tables"],
          properties: { tables: { type: "object", additionalProperties: { type: "string" } } },
        }),
        answer: media({ type: "object", additionalProperties: true }),
      }),
      post: operation({
        id: "runBackends",
        summary: "What queue and Cron do, now: secondaries catch up, rows that are due change their tier.",
        codes: [...SIGNED, "Unavailable"],
        answer: media({ type: "object", properties: { tables: { type: "array", items: { type: "object" } } } }),
      }),
    },
    "/v1/{gatewayId}/admin/feeds": {
      get: operation({
        id: "getFeeds",
        summary: "Tables that take in what others edit in their database, and what waits there.",
        codes: SIGNED,
        answer: media(ref("Feeds")),
      }),
      put: operation({
        id: "putFeeds",
        summary: "Which tables take in what others edit in their database, from the moment of the answer.",
        codes: [...SIGNED, ...BODY, "BadConfig", "NotFound", "DestinationUnavailable", "DestinationRefused"],
        body: media({
          type: "object",
          required: ["tables"],
          properties: { tables: { type: "array", items: { type: "string" } } },
        }),
        answer: media(ref("Feeds")),
      }),
      post: operation({
        id: "takeFeeds",
        summary: "Takes in what waits now. Answers what was done.",
        codes: SIGNED,
        answer: media(ref("Feeds")),
      }),
    },
    "/v1/{gatewayId}/admin/sync-rules": {
      put: operation({
        id: "putSyncRules",
        summary: "Who sees and writes which rows, from the moment of the answer.",
        codes: [...SIGNED, ...BODY, "BadConfig"],
        body: json("SyncRules"),
        answer: json("StoredSyncRules"),
      }),
      get: operation({
        id: "getSyncRules",
        summary: "The sync rules in force.",
        codes: SIGNED,
        answer: json("StoredSyncRules"),
      }),
    },
    "/v1/{gatewayId}/admin/flush": {
      post: operation({
        id: "flush",
        summary: "Flushes now, and answers when every destination has it.",
        codes: SIGNED,
        answer: media({ type: "object", properties: { shards: { type: "array", items: { type: "object" } } } }),
      }),
    },
    "/v1/{gatewayId}/admin/compact": {
      post: operation({
        id: "compact",
        summary: "Maintains the lake's tables now: compaction, and what else is due. Answers what was done.",
        codes: [...SIGNED, "Unavailable"],
        answer: media({ type: "object", properties: { tables: { type: "array", items: { type: "object" } } } }),
      }),
    },
    "/v1/{gatewayId}/admin/checkpoint": {
      post: operation({
        id: "makeCheckpoint",
        summary: "Makes a checkpoint of every shard now. Answers what was done.",
        codes: [...SIGNED, "Unavailable"],
        answer: media({ type: "object", properties: { shards: { type: "array", items: { type: "object" } } } }),
      }),
    },
    "/v1/{gatewayId}/admin/rebuild": {
      post: operation({
        id: "rebuild",
        summary: 'Rebuilds a shard that lost its storage from the lake; where it answers "more", ask again.',
        codes: [...SIGNED, ...BODY, "NotFound", "Conflict", "Corrupt", "Unavailable", "DestinationUnavailable"],
        body: media({
          type: "object",
          properties: {
            shard: { type: "string", description: "One shard; or all of a table:" },
            table: { type: "string" },
            force: { type: "boolean", description: "Drops what the shard holds, and begins anew." },
            noCheckpoint: { type: "boolean", description: "From the history alone." },
            unverified: { type: "boolean", description: "Ends although digests differ." },
          },
        }),
        answer: media({ type: "object", properties: { shards: { type: "array", items: { type: "object" } } } }),
      }),
    },
    "/v1/{gatewayId}/admin/verify": {
      get: operation({
        id: "verify",
        summary: "Reads everything, and says whether shards and lake hold the same rows.",
        codes: [...SIGNED, "Unavailable", "DestinationUnavailable"],
        answer: media({ type: "object", additionalProperties: true }),
      }),
      post: operation({
        id: "verifyDevice",
        summary: "The same, and whether a device that sends its digests by table does.",
        codes: [...SIGNED, ...BODY, "Unavailable", "DestinationUnavailable"],
        body: media({ type: "object", properties: { digests: { type: "object" } } }),
        answer: media({ type: "object", additionalProperties: true }),
      }),
    },
    "/v1/{gatewayId}/admin/status": {
      get: operation({
        id: "status",
        summary:
          "Shards, seqs, what waits to be flushed, each backend's lag, sockets, the lake's debt and last maintenance.",
        codes: SIGNED,
        answer: media({ type: "object", additionalProperties: true }),
      }),
    },
  };
}

/** Draft 2020-12, which OpenAPI 3.1 speaks; `$schema` belongs to whole documents. */
function ofZod(schema: z.ZodType): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input" });
  return rest;
}

export function openApi(): JsonObject {
  const column = {
    type: "object",
    properties: {
      id: { type: "integer" },
      name: { type: "string" },
      type: { enum: COLUMN_TYPES },
      nullable: { type: "boolean" },
    },
  };
  const chunk = {
    type: "object",
    properties: {
      name: { type: "string" },
      rows: { type: "integer", description: "0 where they are looked up when the chunk is asked for." },
      bytes: { type: "integer" },
      sha256: {
        type: "string",
        description: "Of the chunk as it comes; absent where it is made when it is asked for.",
      },
    },
  };
  const schemas: JsonObject = {
    Value: {
      description:
        'A string, number, boolean, null, or { "integer": "..." }, { "timestamp": "ISO 8601" }, { "bytes": "base64" }, { "json": ... } where plain JSON cannot say it.',
    },
    TableDefinition: ofZod(tableDefinitionSchema),
    SyncRules: ofZod(syncRulesSchema),
    StoredSyncRules: {
      type: "object",
      properties: { buckets: { type: "array", items: { type: "object" } }, version: { type: "integer" } },
    },
    Table: {
      type: "object",
      properties: {
        table: { type: "string" },
        version: { type: "integer" },
        columns: { type: "array", items: column },
        lastColumnId: { type: "integer" },
        shards: { type: "integer" },
        backend: { type: "string" },
        hot: { type: "object", properties: { ageMs: { type: "integer" } } },
      },
    },
    Feeds: {
      type: "object",
      properties: {
        feeds: {
          type: "array",
          items: {
            type: "object",
            properties: {
              table: { type: "string" },
              waiting: { type: "integer" },
              oldestMs: { type: ["integer", "null"] },
              refused: { type: "integer", description: "Edits that were set aside." },
              lastRefusal: { type: ["string", "null"] },
              taken: { type: "integer", description: "Edits that are in sync now." },
              more: { type: "boolean" },
              error: { type: "object" },
            },
          },
        },
      },
    },
    Checkpoint: {
      type: "object",
      properties: {
        cursor: { type: "string", description: "To pull from afterwards; empty where there is nothing to install." },
        chunks: { type: "array", items: chunk },
        rows: { type: "integer" },
        bytes: { type: "integer" },
      },
    },
    ErrorCode: {
      type: "string",
      enum: Object.keys(ERRORS),
      description: Object.entries(ERRORS)
        .map(([code, { status, retry }]) => `${code}: ${status || "never over HTTP"}${retry ? ", may be retried" : ""}`)
        .join("; "),
    },
    Error: {
      type: "object",
      required: ["error"],
      properties: {
        error: {
          type: "object",
          required: ["code", "message", "details"],
          properties: { code: ref("ErrorCode"), message: { type: "string" }, details: { type: "object" } },
        },
      },
    },
  };
  const data = dataPaths(schemas);
  for (const desc of [proto.FrameSchema, proto.ErrorBodySchema]) describe(desc, schemas);
  const gateway = { name: "gatewayId", in: "path", required: true, schema: { type: "string" } };
  const tenant = Object.entries({ ...data, ...adminPaths() }).map(([path, item]) => {
    const { parameters = [], ...operations } = item as { parameters?: JsonObject[] };
    return [path, { parameters: [gateway, ...parameters], ...operations }];
  });
  const status = { type: "object", properties: { status: { const: "ok" } } };
  return {
    openapi: "3.1.0",
    info: {
      title: "LakeSync gateway",
      version: "1",
      description: "Push, pull and administration of one gateway. The protobuf messages are those of lakesync.proto.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ token: [] }],
    paths: {
      "/health": {
        get: operation({
          id: "health",
          summary: "Whether it runs.",
          codes: EVERYWHERE,
          answer: media(status),
          open: true,
        }),
      },
      "/openapi.json": {
        get: operation({
          id: "openapi",
          summary: "This document.",
          codes: EVERYWHERE,
          answer: media({ type: "object" }),
          open: true,
        }),
      },
      ...Object.fromEntries(tenant),
      ...ICEBERG_PATHS,
    },
    components: {
      securitySchemes: {
        token: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "JWT",
          description:
            'Claims: "gw" the gateway, "sub" the user, "exp", "role" "client" or "admin", any others for rules.',
        },
      },
      schemas,
    },
  };
}
