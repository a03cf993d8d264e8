/**
 * Edits of one table, and the flushes that a real shard makes of them, over whatever range is asked for: the same shard is
 * built anew each time, so that ranges may overlap, come again, and come in any order.
 */
import {
  type ClientId,
  type Delta,
  makeStamp,
  type Op,
  type Scalar,
  type Seq,
  type TableSchema,
} from "../../schemas/index.ts";
import type { FlushBatch, HistoryBatch, RowBatch } from "../ports/index.ts";
import type { ShardEngine } from "../shard/engine.ts";
import type { FlushPage } from "../shard/flush.ts";
import type { StampedEdit } from "./oracle.ts";
import { ADMIN, clockAt, historyPageOf, NOW, push, rowsPageOf, shardOf } from "./shard-kit.ts";

/** Edits in one push at most; a batch of them is one log row, unless they are long. */
const PUSH = 1000;

type Step = { readonly edit: Delta } | { readonly table: TableSchema };

export class FlushScript {
  readonly gatewayId: string;
  readonly shard: string;
  table: TableSchema;
  /** Entry i has seq i + 1. */
  readonly edits: Delta[] = [];
  readonly #first: TableSchema;
  /** How often a client has used a moment of its clock for a row: no edit has the stamp of another. */
  readonly #used = new Map<string, number>();
  readonly #steps: Step[] = [];

  constructor(table: TableSchema, { gatewayId = "demo", shard = "main" } = {}) {
    this.table = table;
    this.#first = table;
    this.gatewayId = gatewayId;
    this.shard = shard;
  }

  get head(): number {
    return this.edits.length;
  }

  /** @param ms of its clock, after NOW; by default in the order of edits, and before now */
  edit(op: Op, rowId: string, columns: Record<string, Scalar> = {}, client = "c", ms = this.head - 1_000_000): this {
    const clientId = client as ClientId;
    const moment = JSON.stringify([client, ms, rowId]);
    const counter = this.#used.get(moment) ?? 0;
    this.#used.set(moment, counter + 1);
    const edit: Delta = { op, table: this.table.table, rowId, hlc: clockAt(ms, counter), clientId, columns };
    this.edits.push(edit);
    this.#steps.push({ edit });
    return this;
  }

  /** The table as an admin changes it, from here on. */
  reshape(table: TableSchema): this {
    this.table = table;
    this.#steps.push({ table });
    return this;
  }

  /** Every edit up to a seq, as the oracle takes them. */
  stamped(to = this.head): StampedEdit[] {
    return this.edits.slice(0, to).map(({ op, rowId, hlc, clientId, columns }) => ({
      letter: op[0] as "I" | "U" | "D",
      row: rowId,
      stamp: makeStamp(hlc, clientId),
      columns,
    }));
  }

  /** What a flush of (from, to] hands over. @param pageChars size of its pages */
  batch(from = 0, to = this.head, pageChars?: number): FlushBatch {
    const { table, lease, engine } = this.#shardAt(from, to);
    const rows = pagesOf(lease.from, (after) => rowsPageOf(engine, lease.token, table, after, pageChars));
    const history = pagesOf(lease.from, (after) => historyPageOf(engine, lease.token, table, after, pageChars)).flat();
    return {
      gatewayId: this.gatewayId,
      shard: this.shard,
      table,
      fromSeq: lease.from,
      toSeq: lease.to,
      toMs: lease.toMs,
      digest: lease.digests?.[table.table],
      rows: () => inTurn(rows),
      history: () => inTurn(history),
    };
  }

  /** A shard that has flushed everything up to `from`, and leases what came after it up to `to`. */
  #shardAt(from: number, to: number) {
    let table = this.#first;
    let version = 1;
    const owns = { [table.table]: { index: 0, of: 1 } };
    const { gatewayId, shard } = this;
    const engine = shardOf({ gatewayId, shard, tables: [table], owns, version });
    let run: Delta[] = [];
    const send = () => {
      const [edit] = run;
      if (edit && push(engine, ADMIN, run, edit.clientId).rejected.length > 0)
        throw new Error("the shard refuses an edit of a flush script");
      run = [];
    };
    const lease = (token: string) => {
      send();
      const taken = engine.lease(NOW, token);
      if (typeof taken === "string") throw new Error(`there is nothing to flush: ${taken}`);
      return taken.lease;
    };
    let seq = 0;
    let flushed = 0;
    let newest = "";
    for (const step of this.#steps) {
      if (seq === to) break;
      if (seq === from && flushed < from) {
        engine.settle(lease("before").token, [{ table: table.table }], NOW);
        flushed = from;
      }
      if ("table" in step) {
        send();
        table = step.table;
        version++;
        engine.configure({ ...(engine.config as NonNullable<ShardEngine["config"]>), tables: [table], version });
        continue;
      }
      // Within a push a shard may move an edit that came late behind the others: such a one is a push of its own.
      const { hlc, clientId } = step.edit;
      const late = hlc <= newest;
      if (late || run.length === PUSH || run[0]?.clientId !== clientId) send();
      run.push(step.edit);
      if (late) send();
      else newest = hlc;
      seq++;
    }
    return { engine, table, lease: lease("now") };
  }
}

function pagesOf<T>(from: Seq, fetch: (after: Seq) => FlushPage<T>): T[] {
  const pages: T[] = [];
  for (let after: Seq | undefined = from; after !== undefined; ) {
    const { page, next }: FlushPage<T> = fetch(after);
    pages.push(page);
    after = next;
  }
  return pages;
}

async function* inTurn<T extends RowBatch | HistoryBatch>(pages: readonly T[]): AsyncGenerator<T> {
  yield* pages;
}
