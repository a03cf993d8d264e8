/**
 * Pulls from a named source: a table or a query in a database, as `lakesync.config.ts` declares it. Rows come in order of their key,
 * each once; after the last, the cursor begins anew, and says so by `resync`.
 *
 *   cursor   base64url of [source, what it and the token show, key of the last row]
 *
 * A source's rows belong to no gateway by themselves: its filters hold for admins as well.
 */
import { create } from "@bufbuild/protobuf";
import { base64url } from "jose";
import { z } from "zod";
import { MySQLSource, PostgresSource, type RowSource } from "../adapters/index.ts";
import { accessFingerprint, resolvedFilters, tableAccess, validateSyncRules } from "../core/index.ts";
import type { Env, Grant } from "../durable-objects/index.ts";
import {
  type Claims,
  type ClientId,
  CURSOR_CHARS_MAX,
  DeltaBatchBuilder,
  encodeBatch,
  HLC_ZERO,
  LakeSyncError,
  PAGE_BYTES_DEFAULT,
  PAGE_BYTES_MAX,
  proto,
  type Scalar,
  SOURCE_QUERIES_MAX,
  SOURCE_ROWS,
  type SourceConfig,
  sourceTable,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import { backendsIn, databaseOf } from "./backends.ts";

/** Who a source's cells are by: nobody edited them here. */
const NOBODY = "source" as ClientId;

interface Pulled {
  readonly page: proto.PullResponse;
  readonly table: TableSchema;
}

export async function pullSource(env: Env, { gatewayId, claims }: Grant, request: proto.PullRequest): Promise<Pulled> {
  const name = request.source;
  const source = sourceOf(env, gatewayId, name);
  const { table, rules } = sourceTable(name, source);
  const valid = validateSyncRules(rules, [table]);
  if (!valid.ok)
    throw new LakeSyncError("Misconfigured", `lakesync.config.ts, sources.${name}.rows: ${valid.error.message}`);
  const reader: Claims = { ...claims, gw: gatewayId, role: "client" };
  const fingerprint = accessFingerprint(rules, hashOf(JSON.stringify(source)), reader);
  const cursor = decode(request.cursor);
  const held = cursor?.source === name && cursor.fingerprint === fingerprint ? cursor : undefined;
  const buckets = resolvedFilters(rules, table, reader);
  const { sees } = tableAccess(rules, table, reader);
  const bytesMax = Math.min(request.maxBytes || PAGE_BYTES_DEFAULT, PAGE_BYTES_MAX);
  const batch = new DeltaBatchBuilder(name);
  let after = held?.after;
  let bytes = 0;
  let more = buckets.length > 0;
  const { backend, schema = gatewayId, table: from, query, key } = source;
  const relation = { schema, table: from, query, key, columns: table.columns };
  const database = unwrap(databaseOf(env, gatewayId, backend));
  if (!database) throw notThere(name);
  const Source = database.type === "postgres" ? PostgresSource : MySQLSource;
  const reading: RowSource = new Source(database.options, name);
  try {
    for (let queries = 0; more && batch.count === 0 && queries < SOURCE_QUERIES_MAX; queries++) {
      const { rowIds, rows } = unwrap(await reading.page(relation, buckets, after, SOURCE_ROWS));
      more = rowIds.length === SOURCE_ROWS;
      for (const [at, rowId] of rowIds.entries()) {
        const values = rows[at] as readonly Scalar[];
        const row = Object.fromEntries(table.columns.map((column, k) => [column.name, values[k] as Scalar]));
        if (sees((id) => values[id - 1])) {
          const size = JSON.stringify(values).length + rowId.length;
          if (batch.count > 0 && bytes + size > bytesMax) {
            more = true;
            break;
          }
          bytes += size;
          batch.add("I", rowId, HLC_ZERO, NOBODY, row);
        }
        after = rowId;
      }
    }
  } finally {
    await reading.close();
  }
  const page = create(proto.PullResponseSchema, {
    batches: batch.count > 0 ? [encodeBatch(batch.build())] : [],
    cursor: encode({ source: name, fingerprint, ...(more && after !== undefined && { after }) }),
    hasMore: more,
    // Also where a cursor is at the end: what it begins anew has rows that are known, and lacks those that are gone.
    resync: request.cursor !== "" && held?.after === undefined,
  });
  return { page, table };
}

const notThere = (name: string) =>
  new LakeSyncError(
    "NotFound",
    `There is no source ${JSON.stringify(name.slice(0, 80))} for this gateway; declare it in lakesync.config.ts, or leave "source" out.`,
  );

/** One that another gateway has is as if it were not there (S1). */
function sourceOf(env: Env, gatewayId: string, name: string): SourceConfig {
  const { sources } = backendsIn(env);
  const source = Object.hasOwn(sources, name) ? sources[name] : undefined;
  if (source && (source.gateways === "all" || source.gateways.some((each) => each === gatewayId))) return source;
  throw notThere(name);
}

/** FNV-1a: of a source's declaration, so that a cursor of another is noticed. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

interface SourceCursor {
  readonly source: string;
  readonly fingerprint: string;
  readonly after?: string | undefined;
}

const cursorSchema = z.strictObject({
  source: z.string(),
  fingerprint: z.string(),
  after: z.string().max(512).optional(),
});

const encode = (cursor: SourceCursor): string => base64url.encode(JSON.stringify(cursor));

/** A key that somebody made up only moves them among the rows that they may see. */
function decode(text: string): SourceCursor | undefined {
  if (text === "") return undefined;
  try {
    if (text.length > CURSOR_CHARS_MAX) throw new Error("too long");
    return cursorSchema.parse(JSON.parse(new TextDecoder().decode(base64url.decode(text))));
  } catch (cause) {
    const message = "The cursor is not one that this source gave; leave it out to start from nothing.";
    throw new LakeSyncError("BadCursor", message, {}, { cause });
  }
}
