/** What happened: to one row, and between two moments. */
import { hlcMillis, hlcToBigInt, type Op, type Scalar } from "../schemas/index.ts";
import { isoOf } from "./engine.ts";
import { type Edit, includes, type Moment } from "./moment.ts";
import { type Counts, editsOf, heldBy, TableAt, type TableSource } from "./table.ts";

export interface RowChange {
  readonly op: Op;
  /** Device that made it. */
  readonly clientId: string;
  /** When, by the device's clock; ISO 8601. */
  readonly at: string;
  readonly hlc: bigint;
  /** When the gateway took it; ISO 8601. */
  readonly received: string;
  readonly shard: string;
  readonly seq: number;
  /** The columns that it names, and their values as the lake has them: timestamps in microseconds, bytes in base64. */
  readonly columns: Readonly<Record<string, Scalar>>;
}

export interface DiffRow {
  readonly rowId: string;
  readonly kind: "added" | "removed" | "changed";
  readonly before?: Readonly<Record<string, Scalar>>;
  readonly after?: Readonly<Record<string, Scalar>>;
  /** Columns whose values differ. */
  readonly columns: readonly string[];
}

const NO_COUNTS = (): Counts => ({ files: 0, filesPruned: 0 });

export async function changesOf(source: TableSource, rowId: string): Promise<RowChange[]> {
  const names = new Map(source.changeFields.map(({ columnId, name }) => [String(columnId), name]));
  const found: Edit[] = [];
  for await (const edit of editsOf(source, source.changeFields, () => false, NO_COUNTS()))
    if (edit.rowId === rowId) found.push(edit);
  return found
    .sort((a, b) => (a.hlc === b.hlc ? (a.clientId < b.clientId ? -1 : 1) : a.hlc < b.hlc ? -1 : 1))
    .map(({ op, clientId, hlc, received, shard, seq, cells }) => ({
      op,
      clientId,
      at: new Date(hlcMillis(hlc)).toISOString(),
      hlc: hlcToBigInt(hlc),
      received: isoOf(BigInt(received)),
      shard,
      seq,
      columns: Object.fromEntries(Object.entries(cells).map(([id, value]) => [names.get(id) ?? id, value])),
    }));
}

/** Rows that edits of only one of the two moments touched, where they really differ. */
export async function diffOf(source: TableSource, from: Moment, to: Moment): Promise<DiffRow[]> {
  const [before, after] = [new TableAt(source, from), new TableAt(source, to)];
  const [heldBefore, heldAfter] = [from, to].map((moment) => heldAt(source, moment));
  const ids = new Set<string>();
  for await (const edit of editsOf(source, [], () => false, NO_COUNTS()))
    if (includes(from, edit, heldBefore ?? new Map()) !== includes(to, edit, heldAfter ?? new Map()))
      ids.add(edit.rowId);
  const [rowsBefore, rowsAfter] = [await before.rowsOf(ids, NO_COUNTS()), await after.rowsOf(ids, NO_COUNTS())];
  return [...ids].sort().flatMap((rowId): DiffRow[] => {
    const [was, is] = [rowsBefore.get(rowId), rowsAfter.get(rowId)];
    if (!was) return is ? [{ rowId, kind: "added", after: is, columns: Object.keys(is) }] : [];
    if (!is) return [{ rowId, kind: "removed", before: was, columns: Object.keys(was) }];
    const columns = Object.keys(is).filter((name) => was[name] !== is[name]);
    return columns.length > 0 ? [{ rowId, kind: "changed", before: was, after: is, columns }] : [];
  });
}

function heldAt({ main }: TableSource, moment: Moment) {
  if (moment.kind !== "snapshot") return undefined;
  return heldBy(main?.metadata.snapshots?.find((each) => String(each["snapshot-id"]) === moment.id)?.summary);
}
