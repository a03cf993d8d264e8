/** A whole gateway in the process of a test: one real shard engine over SQLite in memory, behind the transport port. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import {
  accessFingerprint,
  ChunkBuilder,
  isAlive,
  merge,
  type Position,
  type RowState,
  ShardEngine,
  type SqlStore,
} from "../../core/index.ts";
import {
  type Claims,
  type ClientId,
  type Column,
  type ColumnType,
  type Delta,
  type DeltaBatch,
  deltasOf,
  encodeChunk,
  type HlcText,
  LakeSyncError,
  PAGE_BYTES_DEFAULT,
  packHlc,
  type SyncRules,
  type TableSchema,
  unwrap,
} from "../../schemas/index.ts";
import { type Cells, visibleOf } from "../sync/rows.ts";
import type { LocalGateway } from "../transport/local.ts";
import type { Checkpoint, CheckpointChunk, Page, PullCall, PushAnswer, PushCall } from "../transport/port.ts";

export type Tables = Readonly<Record<string, Readonly<Record<string, ColumnType>>>>;

/** Every row of every table to everyone. */
export const OPEN_RULES = (tables: Tables): SyncRules => ({
  buckets: [{ name: "all", tables: Object.keys(tables), filters: [], write: [] }],
});

export interface TestGatewayOptions {
  readonly rules?: SyncRules;
  readonly nowMs?: () => number;
  readonly logBytesMax?: number;
}

export class TestGateway {
  readonly engine: ShardEngine;
  nowMs: () => number;
  /** How a cursor of other rules is answered: by a page that says `resync`, or by an error. */
  resyncByPage = true;
  pushes = 0;
  pulls = 0;
  checkpoint: Checkpoint = { cursor: "", chunks: [], rows: 0 };
  readonly chunks = new Map<string, Uint8Array>();
  /** Names of chunks that were asked for. */
  readonly chunkCalls: string[] = [];
  readonly #tables: Tables;
  readonly #pokes = new Set<(hint: string) => void>();
  readonly #merged = new Map<string, Map<string, RowState>>();
  #version = 0;
  #rulesVersion = 0;
  #rules: SyncRules;

  constructor(store: SqlStore, tables: Tables, options: TestGatewayOptions = {}) {
    this.#tables = tables;
    this.#rules = options.rules ?? OPEN_RULES(tables);
    this.nowMs = options.nowMs ?? (() => Date.now());
    const { logBytesMax } = options;
    this.engine = new ShardEngine(store, logBytesMax === undefined ? {} : { logBytesMax });
    this.setRules(this.#rules);
  }

  setRules(rules: SyncRules): void {
    this.#rules = rules;
    this.#rulesVersion++;
    this.#configure();
  }

  #configure(): void {
    const tables = Object.entries(this.#tables).map(([table, columns]): TableSchema => {
      const list = Object.entries(columns).map(
        ([name, type], at): Column => ({ id: at + 1, name, type, nullable: true }),
      );
      return { table, version: 1, columns: list, lastColumnId: list.length, shards: 0 };
    });
    this.engine.configure({
      gatewayId: "test",
      shard: "main",
      version: ++this.#version,
      rulesVersion: this.#rulesVersion,
      rules: this.#rules,
      tables,
      owns: Object.fromEntries(tables.map((t) => [t.table, { index: 0, of: 1 }])),
    });
  }

  /** Makes a checkpoint of everything, in chunks of about so many characters, for whoever sees everything. */
  async makeCheckpoint(chunkChars: number): Promise<Checkpoint> {
    this.chunks.clear();
    const named: CheckpointChunk[] = [];
    for (const schema of this.engine.config?.tables ?? []) {
      let builder = new ChunkBuilder(schema, false, chunkChars);
      const close = async () => {
        if (builder.empty) return;
        const { batch } = builder.build();
        const body = await gzip(encodeChunk([batch]));
        const name = `${schema.table}-${named.length}`;
        this.chunks.set(name, body);
        const { length: rows } = batch.rowIds;
        named.push({ name, rows, bytes: body.length, sha256: bytesToHex(sha256(body)) });
        builder = new ChunkBuilder(schema, false, chunkChars);
      };
      for (const row of this.engine.checkpointRows(schema.table, "", Number.POSITIVE_INFINITY).rows) {
        builder.add(row);
        if (builder.full) await close();
      }
      await close();
    }
    const { rules, rulesVersion } = this.engine.config as NonNullable<typeof this.engine.config>;
    const fingerprint = accessFingerprint(rules, rulesVersion, { sub: "alice", role: "client" });
    const position: Position = { at: "tail", seq: this.engine.head, exact: false };
    const rows = named.reduce((sum, chunk) => sum + chunk.rows, 0);
    this.checkpoint = { cursor: JSON.stringify({ position, fingerprint }), chunks: named, rows };
    return this.checkpoint;
  }

  async #chunk(name: string): Promise<Uint8Array> {
    this.chunkCalls.push(name);
    const body = this.chunks.get(name);
    if (body) return body;
    throw new LakeSyncError("CursorExpired", "The chunk is gone.");
  }

  /** The gateway as one user sees it. */
  as(claims: Claims = { sub: "alice", role: "client" }): LocalGateway {
    return {
      checkpoint: async () => this.checkpoint,
      chunk: (name) => this.#chunk(name),
      push: (call) => this.#push(call, claims),
      pull: (call) => this.#pull(call, claims),
      subscribe: (onPoke) => {
        this.#pokes.add(onPoke);
        return () => this.#pokes.delete(onPoke);
      },
    };
  }

  #serverHlc(): HlcText {
    return packHlc(Math.floor(this.nowMs()), 0);
  }

  #push(call: PushCall, claims: Claims): PushAnswer {
    this.pushes++;
    const owner = this.engine.ownerOf(call.clientId);
    if (owner !== undefined && owner !== claims.sub)
      throw new LakeSyncError("ClientIdTaken", "The client id belongs to another user.");
    this.engine.rememberOwner(call.clientId, claims.sub);
    const before = this.engine.head;
    const { clientId, batches } = call;
    const outcome = unwrap(this.engine.push({ clientId, claims, nowMs: this.nowMs(), batches, deltas: [] }));
    const refused = new Set(outcome.rejected.map((r) => r.hlc));
    for (const batch of batches)
      for (const delta of deltasOf(batch)) if (!refused.has(delta.hlc)) this.#remember({ ...delta, clientId });
    if (this.engine.head > before) for (const poke of this.#pokes) poke(String(this.engine.head));
    return { rejected: outcome.rejected, serverHlc: this.#serverHlc(), cursorHint: String(this.engine.head) };
  }

  #remember(delta: Delta): void {
    const rows = this.#merged.get(delta.table) ?? new Map<string, RowState>();
    this.#merged.set(delta.table, rows);
    rows.set(delta.rowId, merge(rows.get(delta.rowId), delta));
  }

  /** Every accepted edit of a row, merged naively: what the engine's answers are judged by. */
  oracle(table: string): ReadonlyMap<string, RowState> {
    return this.#merged.get(table) ?? new Map();
  }

  /** Rows that are alive, by id. */
  rows(table: string): Map<string, Cells> {
    const alive = [...this.oracle(table)].filter(([, row]) => isAlive(row));
    return new Map(alive.map(([id, row]) => [id, visibleOf(row, [], "" as ClientId) ?? {}]));
  }

  #pull(call: PullCall, claims: Claims): Page {
    this.pulls++;
    const held: { position?: Position; fingerprint: string } =
      call.cursor === "" ? { fingerprint: "" } : JSON.parse(call.cursor);
    const input = {
      claims,
      clientId: call.clientId,
      tables: call.tables ?? [],
      maxBytes: call.maxBytes || PAGE_BYTES_DEFAULT,
    };
    const { batches, position, fingerprint, hasMore, resync, digests } = unwrap(
      this.engine.pull({ ...input, ...held }),
    );
    if (resync && !this.resyncByPage) throw new LakeSyncError("CursorExpired", "The rules changed; start again.");
    return {
      batches: structuredClone(batches) as DeltaBatch[],
      cursor: JSON.stringify({ position, fingerprint }),
      hasMore,
      resync,
      serverHlc: this.#serverHlc(),
      ...(digests && { digests }),
    };
  }
}

const gzip = async (bytes: Uint8Array): Promise<Uint8Array> => {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream as BodyInit).arrayBuffer());
};
