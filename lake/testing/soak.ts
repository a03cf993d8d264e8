/**
 * A lake in use for long: flushes of inserts, updates and deletes, some of them killed, with maintenance meanwhile and two
 * readers that take their time over old snapshots. Time is simulated; everything else is as in production.
 */
import type { FlushBatch, RowBatch, Snapshot } from "../../core/index.ts";
import {
  type ClientId,
  DeltaBatchBuilder,
  GRACE_MS,
  invariant,
  type LakeSyncError,
  letterOf,
  makeStamp,
  ORPHAN_AGE_MS,
  packHlc,
  type Result,
  type Seq,
  unwrap,
} from "../../schemas/index.ts";
import { type MaintainOptions, maintain } from "../compact/index.ts";
import { reachableFrom } from "../compact/reachable.ts";
import {
  currentSchema,
  currentSnapshot,
  fieldsOf,
  flushToIceberg,
  identOf,
  KINDS,
  keyOf,
  liveEntries,
  scanSnapshot,
  type TableKind,
} from "../iceberg/index.ts";
import { tableSchema, testLake } from "./lake.ts";

const FLUSH_MS = 30_000;
const MAINTAIN_EVERY = 8;
const EXPIRE_EVERY = 40;
const START_MS = 1_790_000_000_000;
const TABLE = tableSchema([
  { id: 1, name: "title", type: "string", nullable: true },
  { id: 2, name: "votes", type: "integer", nullable: true },
  { id: 3, name: "score", type: "number", nullable: true },
]);

export interface SoakOptions {
  readonly flushes: number;
  /** Edits of a flush: of twenty, thirteen inserts, six updates, one delete. */
  readonly edits: number;
  readonly seed: number;
  /** Called after each run of maintenance. */
  progress?(flushes: number, state: SoakState): void;
}

export interface SoakState {
  readonly rows: number;
  readonly edits: number;
  readonly dataFiles: number;
  readonly deleteFiles: number;
  /** Objects below the two tables, and their bytes. */
  readonly objects: number;
  readonly bytes: number;
  readonly readersServed: number;
  readonly kills: number;
}

export interface SoakResult {
  readonly end: SoakState;
  /** The most that there ever was after a run of maintenance. */
  readonly most: { readonly dataFiles: number; readonly deleteFiles: number };
  readonly orphans: number;
  /** What the table holds differs from the oracle's rows so often. */
  readonly wrong: number;
}

interface Row {
  readonly seq: number;
  readonly votes: number;
}
type Sums = { count: number; votes: number };

class Killed extends Error {}

/** A number in [0, n), from a generator that the seed starts. */
function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

export async function soak({ flushes, edits, seed, progress }: SoakOptions): Promise<SoakResult> {
  const roll = dice(seed);
  let killIn = -1;
  const fault = async () => {
    if (killIn-- === 0) throw new Killed();
  };
  const { deps, clock } = testLake({ seed, fault });
  const rows = new Map<string, Row>();
  const ids: string[] = [];
  const sums: Sums = { count: 0, votes: 0 };
  /** What the rows added up to at each watermark. */
  const sumsAt = new Map<number, Sums>();
  let seq = 0;
  let kills = 0;
  let served = 0;
  const most = { dataFiles: 0, deleteFiles: 0 };

  const load = async (kind: TableKind) => unwrap(await deps.catalogue.load(identOf(deps, TABLE.table, kind)));

  function nextBatch(): FlushBatch {
    const from = seq;
    const entries = new Map<string, { row: Row | undefined; before: number; seq: number }>();
    const history: { op: "INSERT" | "UPDATE" | "DELETE"; id: string; seq: number; votes: number }[] = [];
    for (let at = 0; at < edits; at++) {
      seq++;
      const kind = roll(20);
      const id =
        kind < 13 || ids.length === 0 ? `${roll(2 ** 30).toString(36)}-${seq}` : (ids[roll(ids.length)] as string);
      const old = rows.get(id);
      if (old === undefined && kind >= 13) continue; // deleted before: nothing is edited
      const before = entries.get(id)?.before ?? old?.seq ?? 0;
      const votes = roll(1000);
      if (old) sums.votes -= old.votes;
      if (kind === 19 && old) {
        rows.delete(id);
        sums.count--;
      } else {
        if (!old) {
          ids.push(id);
          sums.count++;
        }
        rows.set(id, { seq, votes });
        sums.votes += votes;
      }
      history.push({ op: kind === 19 ? "DELETE" : old ? "UPDATE" : "INSERT", id, seq, votes });
      entries.set(id, { row: rows.get(id), before, seq });
    }
    sumsAt.set(seq, { ...sums });
    const stampOf = (of: number) => packHlc(START_MS + of, 0);
    const client = "soak" as ClientId;
    const list = [...entries];
    return {
      gatewayId: "soak",
      shard: "s",
      table: TABLE,
      fromSeq: from as Seq,
      toSeq: seq as Seq,
      toMs: clock.ms,
      async *rows(): AsyncGenerator<RowBatch> {
        const stamps = list.map(([, entry]) => makeStamp(stampOf(entry.seq), client));
        yield {
          rowIds: list.map(([id]) => id),
          stamps,
          seqs: list.map(([, entry]) => (entry.row?.seq ?? entry.seq) as Seq),
          deleted: list.map(([, entry]) => entry.row === undefined),
          flushedSeqs: list.map(([, entry]) => (entry.before > from ? 0 : entry.before) as Seq),
          columns: [
            { name: "title", values: list.map(([id]) => `title of ${id}`) },
            { name: "votes", values: list.map(([, entry]) => entry.row?.votes ?? null) },
            { name: "score", values: list.map(([, entry]) => (entry.row?.votes ?? 0) / 7) },
          ],
          cellStamps: [stamps, stamps, stamps],
        };
      },
      async *history() {
        const builder = new DeltaBatchBuilder(TABLE.table);
        for (const { op, id, seq: of, votes } of history)
          builder.add(letterOf(op), id, stampOf(of), client, op === "DELETE" ? {} : { votes });
        yield {
          seqs: history.map((each) => each.seq as Seq),
          receivedMs: history.map(() => clock.ms),
          batch: builder.build(),
        };
      },
    };
  }

  /** Does a thing, killed now and then at any fault point and begun again. */
  async function stubbornly<T>(body: () => Promise<Result<T, LakeSyncError>>): Promise<T> {
    for (;;) {
      killIn = roll(10) === 0 ? roll(20) : -1;
      try {
        const done = await body();
        if (done.ok) return done.value;
        if (!(done.error.cause instanceof Killed)) throw done.error;
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
      } finally {
        killIn = -1;
      }
      kills++;
    }
  }

  /** Reads a snapshot, a row group each time it is asked; true at the end, when it found what was there then. */
  async function* reading(snapshot: Snapshot): AsyncGenerator<void> {
    const { metadata } = await load("main");
    const votes = fieldsOf(currentSchema(metadata), "main").filter((field) => field.name === "votes");
    const found: Sums = { count: 0, votes: 0 };
    for await (const { columns } of scanSnapshot(deps.store, snapshot, { columns: votes })) {
      found.count += columns[0]?.length ?? 0;
      for (const value of columns[0] ?? []) found.votes += value as number;
      yield;
    }
    const wanted = sumsAt.get(Number(snapshot.summary["lakesync.watermark.s"]));
    invariant(
      wanted && found.count === wanted.count && found.votes === wanted.votes,
      `a reader of snapshot ${snapshot["snapshot-id"]} found ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`,
    );
  }

  const readers: { reading: AsyncGenerator<void>; openedMs: number }[] = [];
  async function read(): Promise<void> {
    const snapshots = (await load("main")).metadata.snapshots ?? [];
    while (readers.length < 2) {
      const snapshot = snapshots[roll(snapshots.length)] as Snapshot;
      readers.push({ reading: reading(snapshot), openedMs: clock.ms });
    }
    for (const reader of [...readers]) {
      const late = clock.ms - reader.openedMs > GRACE_MS - 5 * FLUSH_MS;
      // As slow as the grace period allows: one row group a flush, the rest just before it ends.
      do {
        const { done } = await reader.reading.next();
        if (!done) continue;
        readers.splice(readers.indexOf(reader), 1);
        served++;
        break;
      } while (late);
    }
  }

  async function state(): Promise<SoakState> {
    const counts = { dataFiles: 0, deleteFiles: 0, objects: 0, bytes: 0 };
    for (const kind of KINDS) {
      const { metadata } = await load(kind);
      counts.dataFiles += (await liveEntries(deps.store, currentSnapshot(metadata), "data")).length;
      counts.deleteFiles += (await liveEntries(deps.store, currentSnapshot(metadata), "deletes")).length;
      for (const object of await objectsOf(kind)) {
        counts.objects++;
        counts.bytes += object.size;
      }
    }
    return { rows: rows.size, edits: seq, ...counts, readersServed: served, kills };
  }

  async function objectsOf(kind: TableKind): Promise<{ key: string; size: number }[]> {
    const prefix = `${keyOf(deps.store, (await load(kind)).metadata.location)}/`;
    const objects: { key: string; size: number }[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = unwrap(await deps.store.list(prefix, cursor));
      objects.push(...page.objects);
      if (page.cursor === undefined) return objects;
      cursor = page.cursor;
    }
  }

  const expire = { olderThanMs: 2 * GRACE_MS, retainLast: 10 };
  for (let flush = 1; flush <= flushes; flush++) {
    clock.ms += FLUSH_MS;
    const batch = nextBatch();
    await stubbornly(() => flushToIceberg(batch, deps));
    await read();
    if (flush % MAINTAIN_EVERY !== 0) continue;
    const options: MaintainOptions = flush % EXPIRE_EVERY === 0 ? { expire, orphans: {} } : {};
    await stubbornly(() => maintain(deps, TABLE.table, options));
    const now = await state();
    most.dataFiles = Math.max(most.dataFiles, now.dataFiles);
    most.deleteFiles = Math.max(most.deleteFiles, now.deleteFiles);
    progress?.(flush, now);
  }

  // Everybody goes home; what nobody needs goes after its grace period.
  const rest: MaintainOptions = { expire: { olderThanMs: 0, retainLast: 1 }, orphans: {} };
  for (const pause of [0, ORPHAN_AGE_MS + 1, GRACE_MS, GRACE_MS]) {
    clock.ms += pause;
    unwrap(await maintain(deps, TABLE.table, rest));
  }
  let orphans = 0;
  for (const kind of KINDS) {
    const needed = await reachableFrom(deps.store, await load(kind));
    orphans += (await objectsOf(kind)).filter(({ key }) => !needed.has(key)).length;
  }
  return { end: await state(), most, orphans, wrong: await compare() };

  /** Rows of the table, one by one, with the oracle's. */
  async function compare(): Promise<number> {
    const { metadata } = await load("main");
    const columns = fieldsOf(currentSchema(metadata), "main").filter(({ name }) =>
      ["_id", "_seq", "votes"].includes(name),
    );
    const left = new Map(rows);
    let wrong = 0;
    for await (const batch of scanSnapshot(deps.store, currentSnapshot(metadata), { columns }))
      for (let at = 0; at < batch.positions.length; at++) {
        const [id, of, votes] = batch.columns.map((values) => values[at]);
        const row = left.get(id as string);
        if (row?.seq !== of || row?.votes !== votes) wrong++;
        left.delete(id as string);
      }
    const seqs = new Set<number>();
    const changes = await load("changes");
    const [seqField] = fieldsOf(currentSchema(changes.metadata), "changes");
    let twice = 0;
    const scan = scanSnapshot(deps.store, currentSnapshot(changes.metadata), { columns: seqField ? [seqField] : [] });
    for await (const batch of scan)
      for (const value of batch.columns[0] ?? []) {
        if (seqs.has(value as number)) twice++;
        seqs.add(value as number);
      }
    return wrong + left.size + twice;
  }
}
