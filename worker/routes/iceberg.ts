/**
 * The Iceberg REST catalogue, mounted at /iceberg (specification: open-api/rest-catalog-open-api.yaml of apache/iceberg).
 *
 *   GET  /v1/config?warehouse=           overrides.prefix = the token's gateway
 *   ...  /v1/{prefix}/namespaces...      prefix must be the token's gateway (S1), role must be admin (PL7)
 *   POST /v1/oauth/tokens                gives a token back to clients that only know client credentials
 *
 * A lake table holds every row of its tenant and knows no sync rules, so all of it, reading included, is for admins. Errors
 * have Iceberg's body, { error: { message, type, code } }, and never a stack (S5).
 */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { z } from "zod";
import type { CreateTable, TableIdent } from "../../core/index.ts";
import {
  type Answer,
  type CatalogueServer,
  catalogueError,
  ICEBERG_ERRORS,
  icebergTypeOf,
  isIcebergErrorType,
  type PageRequest,
  parseJson,
  SEPARATOR,
  stringifyJson,
  withRefSnapshotsOnly,
} from "../../lake/index.ts";
import { BODY_BYTES_MAX, isLakeSyncError, LakeSyncError } from "../../schemas/index.ts";
import {
  type CreateTableBody,
  commitTableBody,
  commitTransactionBody,
  createNamespaceBody,
  createTableBody,
  registerTableBody,
  renameTableBody,
  updateNamespaceBody,
} from "./iceberg-bodies.ts";
import { oauthTokens } from "./iceberg-oauth.ts";

interface IcebergCaller {
  readonly gatewayId: string;
  readonly role: string;
}

export interface IcebergRoutesOptions {
  /** Whose request this is, from the verified token; throws a LakeSyncError `Unauthenticated` where there is none. */
  requireGateway(c: Context): IcebergCaller | Promise<IcebergCaller>;
  /** The catalogue of a verified gateway. */
  catalogueFor(gatewayId: string, c: Context): CatalogueServer;
  /** Told of failures that are no LakeSyncError, which the caller sees none of. */
  readonly report?: (error: Error, c: Context) => void;
  /** Configuration that clients take unless they have their own, such as `s3.endpoint`. */
  readonly defaults?: Readonly<Record<string, string>>;
  /** Where and with which credentials the files of a gateway are read; for clients that ask for delegation. */
  delegate?(c: Context): Promise<Delegation | undefined>;
}

/** Access to files, lent to a client (specification, "StorageCredential"). */
interface Delegation {
  /** Locations that begin so may be read. */
  readonly prefix: string;
  readonly config: Readonly<Record<string, string>>;
}

/** What `config` lists: a client refuses what is not there. */
const ENDPOINTS = [
  "GET /v1/{prefix}/namespaces",
  "POST /v1/{prefix}/namespaces",
  "GET /v1/{prefix}/namespaces/{namespace}",
  "HEAD /v1/{prefix}/namespaces/{namespace}",
  "DELETE /v1/{prefix}/namespaces/{namespace}",
  "POST /v1/{prefix}/namespaces/{namespace}/properties",
  "GET /v1/{prefix}/namespaces/{namespace}/tables",
  "POST /v1/{prefix}/namespaces/{namespace}/tables",
  "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
  "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
  "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
  "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
  "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
  "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
  "POST /v1/{prefix}/namespaces/{namespace}/register",
  "POST /v1/{prefix}/tables/rename",
  "POST /v1/{prefix}/transactions/commit",
];

/** A Hono app to mount at /iceberg. */
export function icebergRoutes(options: IcebergRoutesOptions): Hono {
  const app = new Hono();
  const tooLarge = () => {
    throw new LakeSyncError("TooLarge", `A body has at most ${BODY_BYTES_MAX} bytes.`);
  };
  app.use(bodyLimit({ maxSize: BODY_BYTES_MAX, onError: tooLarge }));

  const caller = async (c: Context): Promise<IcebergCaller> => {
    const found = await options.requireGateway(c);
    if (found.role === "admin") return found;
    throw catalogueError(
      "ForbiddenException",
      "The lake holds every row of its gateway: this needs a token of role admin.",
    );
  };
  /** The catalogue that the path names, if it is the caller's. */
  const open = async (c: Context): Promise<CatalogueServer> => {
    const { gatewayId } = await caller(c);
    if (c.req.param("prefix") !== gatewayId) {
      throw catalogueError("ForbiddenException", `This token opens gateway ${gatewayId} only.`);
    }
    return options.catalogueFor(gatewayId, c);
  };
  const delegated = async (c: Context): Promise<Delegation[]> => {
    const lent = await options.delegate?.(c);
    return lent ? [lent] : [];
  };

  app.onError((error, c) => {
    if (!isLakeSyncError(error)) options.report?.(error, c);
    return errorResponse(error);
  });
  app.post("/v1/oauth/tokens", oauthTokens);

  app.get("/v1/config", async (c) => {
    const { gatewayId } = await caller(c);
    const warehouse = c.req.query("warehouse") ?? "";
    if (warehouse !== "" && warehouse !== gatewayId) {
      throw catalogueError(
        "NoSuchWarehouseException",
        `Warehouse ${warehouse} is not the token's gateway, ${gatewayId}.`,
      );
    }
    return json({ defaults: options.defaults ?? {}, overrides: { prefix: gatewayId }, endpoints: ENDPOINTS });
  });

  const root = "/v1/:prefix/namespaces";
  app.get(root, async (c) => {
    const parent = c.req.query("parent") ?? "";
    const catalogue = await open(c);
    const page = await value(catalogue.listNamespaces(parent === "" ? null : parent.split(SEPARATOR), pageOf(c)));
    return json({ namespaces: page.items, "next-page-token": page.next });
  });
  app.post(root, async (c) => {
    const catalogue = await open(c);
    const { namespace, properties } = await body(c, createNamespaceBody);
    return json({ namespace, properties: await value(catalogue.createNamespace(namespace, properties ?? {})) });
  });
  app.get(`${root}/:namespace`, async (c) => {
    const namespace = namespaceOf(c);
    const properties = await value((await open(c)).loadNamespace(namespace));
    return isHead(c) ? empty() : json({ namespace, properties });
  });
  app.delete(`${root}/:namespace`, async (c) => {
    await value((await open(c)).dropNamespace(namespaceOf(c)));
    return empty();
  });
  app.post(`${root}/:namespace/properties`, async (c) => {
    const catalogue = await open(c);
    const { removals, updates } = await body(c, updateNamespaceBody);
    const change = { removals: removals ?? [], updates: updates ?? {} };
    return json(await value(catalogue.updateNamespace(namespaceOf(c), change)));
  });

  const tables = `${root}/:namespace/tables`;
  app.get(tables, async (c) => {
    const page = await value((await open(c)).listTables(namespaceOf(c), pageOf(c)));
    return json({ identifiers: page.items, "next-page-token": page.next });
  });
  app.post(tables, async (c) => {
    const catalogue = await open(c);
    const request = await body(c, createTableBody);
    const ident = { namespace: namespaceOf(c), name: request.name };
    if (request["stage-create"]) {
      const metadata = await value(catalogue.stageTable(ident, definitionOf(request)));
      return json({ metadata, config: {} });
    }
    const { metadata, metadataLocation } = await value(catalogue.createTable(ident, definitionOf(request)));
    return json({ "metadata-location": metadataLocation, metadata, config: {} }, etag(metadataLocation));
  });
  app.post(`${root}/:namespace/register`, async (c) => {
    const catalogue = await open(c);
    const request = await body(c, registerTableBody);
    const ident = { namespace: namespaceOf(c), name: request.name };
    const from = request["metadata-location"];
    const { metadata, metadataLocation } = await value(
      catalogue.registerTable(ident, from, request.overwrite ?? false),
    );
    return json({ "metadata-location": metadataLocation, metadata, config: {} }, etag(metadataLocation));
  });

  const table = `${tables}/:table`;
  app.get(table, async (c) => {
    const catalogue = await open(c);
    if (isHead(c)) {
      await value(catalogue.tableExists(identOf(c)));
      return empty();
    }
    const { metadata, metadataLocation } = await value(catalogue.loadTable(identOf(c)));
    const refs = c.req.query("snapshots") === "refs";
    const tag = etag(metadataLocation, refs ? "-refs" : "");
    const shown = refs ? withRefSnapshotsOnly(metadata) : metadata;
    const answer = { "metadata-location": metadataLocation, metadata: shown };
    const lent = wantsCredentials(c) ? await delegated(c) : [];
    // Credentials expire while a table stays as it is, so an answer that has them is never "not modified".
    if (lent[0]) return json({ ...answer, config: lent[0].config, "storage-credentials": lent });
    if (c.req.header("If-None-Match") === tag.ETag) return new Response(null, { status: 304, headers: tag });
    return json({ ...answer, config: {} }, tag);
  });
  app.post(table, async (c) => {
    const catalogue = await open(c);
    const request = await body(c, commitTableBody);
    const [done] = await value(commitOf(catalogue.commit([{ ident: identOf(c), ...request }])));
    if (done === undefined) throw new Error("a commit of one table gives one table");
    const { metadata, metadataLocation } = done;
    return json({ "metadata-location": metadataLocation, metadata }, etag(metadataLocation));
  });
  app.delete(table, async (c) => {
    const purge = c.req.query("purgeRequested")?.toLowerCase() === "true";
    await value((await open(c)).dropTable(identOf(c), purge));
    return empty();
  });
  app.get(`${table}/credentials`, async (c) => {
    await value((await open(c)).tableExists(identOf(c)));
    return json({ "storage-credentials": await delegated(c) });
  });
  app.post(`${table}/metrics`, async (c) => {
    await value((await open(c)).tableExists(identOf(c)));
    return empty();
  });

  app.post("/v1/:prefix/tables/rename", async (c) => {
    const catalogue = await open(c);
    const { source, destination } = await body(c, renameTableBody);
    await value(catalogue.renameTable(source, destination));
    return empty();
  });
  app.post("/v1/:prefix/transactions/commit", async (c) => {
    const catalogue = await open(c);
    const request = await body(c, commitTransactionBody);
    const changes = request["table-changes"].map(({ identifier: ident, ...change }) => ({ ident, ...change }));
    await value(commitOf(catalogue.commit(changes)));
    return empty();
  });

  app.all("*", async (c) => {
    await options.requireGateway(c);
    throw catalogueError(
      "UnsupportedOperationException",
      `${c.req.method} ${c.req.path} is not offered here; see config.`,
    );
  });
  return app;
}

// Requests

const isHead = (c: Context): boolean => c.req.method === "HEAD";
const namespaceOf = (c: Context): string[] => (c.req.param("namespace") ?? "").split(SEPARATOR);
const wantsCredentials = (c: Context): boolean =>
  (c.req.header("X-Iceberg-Access-Delegation") ?? "").split(",").some((each) => each.trim() === "vended-credentials");
const identOf = (c: Context): TableIdent => ({ namespace: namespaceOf(c), name: c.req.param("table") ?? "" });

function pageOf(c: Context): PageRequest {
  const token = c.req.query("pageToken");
  const size = Number(c.req.query("pageSize") ?? Number.NaN);
  return { ...(token !== undefined && { token }), ...(Number.isInteger(size) && { size }) };
}

async function body<T>(c: Context, shape: z.ZodType<T>): Promise<T> {
  const text = await c.req.text();
  let parsed: unknown;
  try {
    parsed = parseJson(text);
  } catch {
    throw catalogueError("BadRequestException", "The body is not JSON.");
  }
  const result = shape.safeParse(parsed);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw catalogueError(
    "BadRequestException",
    `The body is not valid at "${issue?.path.join(".")}": ${issue?.message}.`,
  );
}

/** What the client sent goes on as it is: the catalogue checks every part of it. */
function definitionOf(request: CreateTableBody): CreateTable {
  const { schema, location, properties, "partition-spec": spec, "write-order": order } = request;
  return {
    schema,
    ...(location && { location }),
    ...(spec && { partitionSpec: spec }),
    ...(order && { sortOrder: order }),
    ...(properties && { properties }),
  } as unknown as CreateTable;
}

// Answers

async function value<T>(answer: Answer<T>): Promise<T> {
  const result = await answer;
  if (result.ok) return result.value;
  throw result.error;
}

/** A commit that breaks off may have landed: the client has to look (specification, updateTable, 500). */
async function commitOf<T>(answer: Answer<T>): Answer<T> {
  try {
    return await answer;
  } catch {
    throw catalogueError("CommitStateUnknownException", "The commit broke off and may have landed: load the table.");
  }
}

const empty = (): Response => new Response(null, { status: 204 });
const etag = (metadataLocation: string, suffix = "") => ({ ETag: `"${metadataLocation.split("/").at(-1)}${suffix}"` });

function json(content: unknown, headers: Record<string, string> = {}, status = 200): Response {
  return new Response(stringifyJson(content), { status, headers: { "Content-Type": "application/json", ...headers } });
}

function errorResponse(thrown: unknown): Response {
  const error = isLakeSyncError(thrown)
    ? thrown
    : new LakeSyncError("Internal", "Something broke here; try again later.");
  const type = icebergTypeOf(error);
  // An Iceberg name has a status of its own; other failures keep theirs (413, 429).
  const code = isIcebergErrorType(error.details.type) ? ICEBERG_ERRORS[type].status : error.status || 500;
  const challenge = code === 401 ? { "WWW-Authenticate": "Bearer" } : {};
  return json({ error: { message: error.message, type, code } }, challenge as Record<string, string>, code);
}
