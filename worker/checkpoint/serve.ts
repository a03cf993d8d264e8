/**
 * What a device gets of checkpoints (PL7):
 *
 *   the token sees the whole table     its chunks, as they lie in the bucket: for ever the same, in any order, by ranges
 *   its rules compare columns          the rows that indexes have for them, as they are now, judged by the shard; a chunk
 *                                      of such rows for each run of an index
 *   and asks for older rows            likewise what has left a hot window (decision 0052), where it lies
 *   neither, and asks for older rows   those rows of each chunk that it may see, as they are now
 *   neither                            nothing of this shard: its cursor begins at nothing, and the pull scans it
 *
 * A chunk's name says where it lies; whether the token may have it is asked anew each time.
 */
import {
  type CheckpointManifest,
  type ColdAsk,
  checkpointDuty,
  type LakeAdapter,
  layoutOf,
  seenRows,
  selectorsOf,
  shardsOf,
  type TableCheckpoint,
  type TenantState,
  tableAccess,
} from "../../core/index.ts";
import {
  ask,
  type CursorPart,
  call,
  type Env,
  encodeCursor,
  type Grant,
  type Router,
} from "../../durable-objects/index.ts";
import {
  type CheckpointPlace,
  chunkKey,
  getColdRuns,
  idsInChunk,
  isObjectName,
  isRun,
  lookUp,
  readCheckpoint,
  readCold,
} from "../../lake/index.ts";
import {
  type Claims,
  decodeBatch,
  encodeChunk,
  LakeSyncError,
  type PackedBatch,
  RETRY_AFTER_SECONDS,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import { lakeOf } from "../destination.ts";
import { sendFor } from "../maintenance.ts";
import { placed } from "../range.ts";

interface ServedChunk {
  readonly name: string;
  /** Rows; 0 where they are looked up when they are asked for. */
  readonly rows: number;
  /** Compressed; 0 likewise. */
  readonly bytes: number;
  /** Of the answer's body, in hex; absent where it is made when it is asked for. */
  readonly sha256?: string;
}

export interface ServedCheckpoint {
  /** To pull from once all chunks are installed; empty when there is nothing to install. */
  readonly cursor: string;
  /** In the order in which they are to be installed. */
  readonly chunks: readonly ServedChunk[];
  /** Of all chunks that say so. */
  readonly rows: number;
  readonly bytes: number;
}

/** Rows that a shard is asked for at once. */
const PICKED_AT_ONCE = 2000;

export async function checkpointFor(
  env: Env,
  router: Router,
  { gatewayId, claims }: Grant,
  tables: readonly string[],
  older: boolean,
): Promise<ServedCheckpoint> {
  const state = unwrap(await router.freshState(gatewayId));
  const { store } = lakeOf(env, gatewayId);
  const offers = await Promise.all(
    shardsOf(state, tables).map(async (shard) => {
      const place = { gatewayId, shard };
      const manifest = await readCheckpoint(store, place);
      const usable = manifest?.mapVersion === state.map.version;
      const offered =
        manifest && usable ? await chunksOf(store, place, state, manifest, claims, tables, older) : undefined;
      // Rows that leave while a pull scans the shard would be missed; from a seq, or from the very first, a device hears of it.
      const windowed = older && hasWindow(state, shard, tables);
      return { shard, seq: (offered && manifest?.seq) ?? 0, chunks: offered ?? [], windowed };
    }),
  );
  const parts = new Map<string, CursorPart>();
  const chunks: ServedChunk[] = [];
  if (offers.some((offer) => offer.chunks.length > 0 || offer.windowed))
    await Promise.all(
      offers.map(async (offer) => {
        const { shard, seq, windowed } = offer;
        const address = { gatewayId, shard, version: state.version };
        const { fingerprint, remembered, version, head } = unwrap(
          await call("shard", router.shard(gatewayId, shard).standing(address, claims, seq)),
        );
        // A shard that knows newer rules than these chunks were chosen by: the device asks again in a moment.
        const good = remembered && version <= state.version;
        if (windowed && !good) {
          // Nothing else may send for it: after a rebuild, say, nothing is flushed.
          await sendFor(env, [{ gatewayId, duty: checkpointDuty(shard) }]);
          throw notYet();
        }
        if (good && (offer.chunks.length > 0 || windowed)) {
          chunks.push(...offer.chunks);
          parts.set(shard, { fingerprint, position: { at: "tail", seq, exact: false } });
        } else {
          // Scanned as of now: what the device writes while it installs the others, and may not see, it has to be told of.
          parts.set(shard, { fingerprint, position: { at: "scan", seq: head, table: "", after: "" } });
        }
      }),
    );
  if (![...parts.values()].some(({ position }) => position.at === "tail"))
    return { cursor: "", chunks: [], rows: 0, bytes: 0 };
  const asked = [...new Set(tables)].sort().join(",");
  return {
    cursor: encodeCursor({ map: state.map.version, tables: asked, shards: parts }),
    chunks,
    rows: chunks.reduce((sum, chunk) => sum + chunk.rows, 0),
    bytes: chunks.reduce((sum, chunk) => sum + chunk.bytes, 0),
  };
}

const hasWindow = ({ tables, map }: TenantState, shard: string, asked: readonly string[]): boolean =>
  tables.some(
    ({ table, hot }) => hot && (asked.length === 0 || asked.includes(table)) && layoutOf(map, table).includes(shard),
  );

const notYet = () =>
  new LakeSyncError("Unavailable", "The checkpoint that lists older rows is not made yet; come again.", {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  });

/** Undefined when not everything of the shard that the token may see can be given. */
async function chunksOf(
  store: LakeAdapter,
  shard: CheckpointPlace,
  state: TenantState,
  manifest: CheckpointManifest,
  claims: Claims,
  tables: readonly string[],
  older: boolean,
): Promise<ServedChunk[] | undefined> {
  const chunks: ServedChunk[] = [];
  for (const held of manifest.tables) {
    const schema = state.tables.find(({ table }) => table === held.table);
    if (!schema || (tables.length > 0 && !tables.includes(held.table))) continue;
    const place = { ...shard, run: manifest.run };
    const left = older && held.cold !== undefined ? await getColdRuns(store, place, held.cold) : [];
    // Of a row that is in several, the later one counts.
    const parts = [
      ...left.map(({ name, chunks: some, indexes }) => ({ folder: `${COLD}${name}`, chunks: some, indexes })),
      { folder: manifest.run, chunks: [...held.chunks, ...held.late], indexes: held.indexes },
    ];
    const { seesAll } = tableAccess(state.rules, schema, claims);
    for (const part of parts) {
      const named = (name: string) => `${manifest.shard}:${part.folder}:${held.table}:${name}`;
      if (seesAll) {
        const some = part.chunks.filter(({ entries }) => entries > 0);
        chunks.push(...some.map(({ name, rows, bytes }) => ({ name: named(name), rows, bytes, sha256: name })));
        continue;
      }
      const runs = runsFor(state, schema, part, claims);
      if (!runs && !older) return undefined;
      if (!runs)
        chunks.push(...part.chunks.map(({ name }) => ({ name: named(`${NO_COLUMN}.${name}`), rows: 0, bytes: 0 })));
      else chunks.push(...runs.map(({ columnId, run }) => ({ name: named(`${columnId}.${run}`), rows: 0, bytes: 0 })));
    }
  }
  return chunks;
}

/** In the place of a column's id: rows of a chunk, not of an index's run. */
const NO_COLUMN = 0;
/** Before the run's name, in the name of a chunk of rows that have left. */
const COLD = "cold-";

function runsFor(
  state: TenantState,
  schema: TableSchema,
  { indexes: those }: Pick<TableCheckpoint, "indexes">,
  claims: Claims,
) {
  const selectors = selectorsOf(state.rules, schema, claims);
  const indexes = selectors?.map(({ column }) => those.find((index) => index.columnId === column.id));
  if (!indexes?.every((index) => index !== undefined)) return undefined;
  return [...new Set(indexes)].flatMap(({ columnId, runs }) => runs.map((run) => ({ columnId, run })));
}

interface ChunkName extends CheckpointPlace {
  readonly run: string;
  readonly table: string;
  readonly name: string;
  /** Of the index that the name is a run of, or NO_COLUMN; absent for a chunk as it lies in the bucket. */
  readonly columnId?: number;
}

function parseName(gatewayId: string, text: string): ChunkName | undefined {
  const [shard = "", folder = "", table = "", last = "", more] = text.split(":");
  const cold = folder.startsWith(COLD);
  const run = cold ? folder.slice(COLD.length) : folder;
  const [, column, name = ""] = /^(?:(\d{1,9})\.)?(.*)$/.exec(last) ?? [];
  if (more !== undefined || !isRun(run) || !isObjectName(name)) return undefined;
  return {
    gatewayId,
    shard,
    run,
    table,
    name,
    ...(cold && { cold }),
    ...(column !== undefined && { columnId: Number(column) }),
  };
}

const gone = () =>
  new LakeSyncError(
    "CursorExpired",
    "This part of a checkpoint is not for this token any more, or gone; ask for the checkpoint again.",
  );

export async function chunkFor(
  env: Env,
  router: Router,
  grant: Grant,
  text: string,
  request: Headers,
): Promise<Response> {
  const { gatewayId, claims } = grant;
  const named = parseName(gatewayId, text);
  const state = unwrap(await router.freshState(gatewayId));
  const schema = state.tables.find(({ table }) => table === named?.table);
  if (!named || !schema || !layoutOf(state.map, schema.table).includes(named.shard)) throw gone();
  const { columnId } = named;
  if (columnId !== undefined) return selected(env, router, claims, state, schema, { ...named, columnId });
  if (!tableAccess(state.rules, schema, claims).seesAll) throw gone();
  return stored(env, chunkKey(named, named.run, named.table, named.name), request);
}

/** Straight from the bucket. Private, and bound to the token: another user of the same browser asks anew. */
async function stored(env: Env, key: string, request: Headers): Promise<Response> {
  // A range that the object does not have may be left unheeded (RFC 9110, section 14.2).
  const ranged = env.LAKE.get(key, { range: request, onlyIf: request });
  const object = await ranged.catch(() => env.LAKE.get(key, { onlyIf: request }));
  if (!object) throw gone();
  const headers = new Headers({
    "content-type": "application/gzip",
    "cache-control": "private, max-age=31536000, immutable",
    vary: "authorization",
    etag: object.httpEtag,
    "accept-ranges": "bytes",
  });
  if (!("body" in object)) return new Response(null, { status: 304, headers });
  const range = request.has("range") && object.range ? placed(object.range, object.size) : undefined;
  headers.set("content-length", String(range ? range.length : object.size));
  if (range) headers.set("content-range", `bytes ${range.offset}-${range.offset + range.length - 1}/${object.size}`);
  return new Response(object.body, { status: range ? 206 : 200, headers });
}

/** Rows that an index names, or that are in a chunk, as they are now. */
async function selected(
  env: Env,
  router: Router,
  claims: Claims,
  state: TenantState,
  schema: TableSchema,
  place: ChunkName & { readonly columnId: number },
): Promise<Response> {
  const { columnId } = place;
  const selectors = selectorsOf(state.rules, schema, claims)?.filter(({ column }) => column.id === columnId) ?? [];
  const { store } = lakeOf(env, place.gatewayId);
  const named =
    columnId === NO_COLUMN
      ? idsInChunk(store, place, schema.table, place.name)
      : lookUp(store, place, place.name, selectors);
  const ids = await named.catch((error: unknown) => {
    throw error instanceof LakeSyncError && error.code === "NotFound" ? gone() : error;
  });
  const address = { gatewayId: place.gatewayId, shard: place.shard, version: state.version };
  const shard = router.shard(place.gatewayId, place.shard);
  const read = async (at: number): Promise<Uint8Array> => {
    const some = ids.slice(at, at + PICKED_AT_ONCE);
    // What was in the shard when the checkpoint was made may have left since.
    if (!schema.hot) {
      const picked = unwrap(await ask<PackedBatch[]>("shard", shard.pick(address, claims, schema.table, some)));
      return encodeChunk(picked.map((batch) => unwrap(decodeBatch(batch))));
    }
    type Picked = { readonly batches: PackedBatch[]; readonly asks: ColdAsk[] };
    const { batches, asks } = unwrap(await ask<Picked>("shard", shard.pickOlder(address, claims, schema.table, some)));
    const { rows } = await readCold(store, place, schema, asks, Number.POSITIVE_INFINITY);
    const found = seenRows(state.rules, schema, claims, rows);
    return encodeChunk([...batches.map((batch) => unwrap(decodeBatch(batch))), found]);
  };
  // What is wrong is said with a status as long as nothing has been sent.
  let next: Promise<Uint8Array> | undefined = Promise.resolve(ids.length > 0 ? await read(0) : new Uint8Array(0));
  let at = PICKED_AT_ONCE;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const bytes = await next;
      next = at < ids.length ? read(at) : undefined;
      at += PICKED_AT_ONCE;
      if (bytes) controller.enqueue(bytes);
      if (!next) controller.close();
    },
  });
  const headers = { "content-type": "application/gzip", "cache-control": "no-store" };
  return new Response(body.pipeThrough(new CompressionStream("gzip")), { headers });
}
