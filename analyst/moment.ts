/**
 * A moment in the life of a table (L6), as a question about its edits: does this one belong to it?
 *
 *   now             every edit
 *   time            what the gateway had received by then
 *   hlc             what devices had written by then, however late it arrived
 *   snapshot        what the snapshot holds, by its watermarks
 */
import { type ClientId, type HlcText, hlcFromBigInt, isHlcText, LakeSyncError, type Scalar } from "../schemas/index.ts";

/** Whose state a query sees. A `Date` or a text is a time. */
export type AsOf =
  | Date
  | string
  | { readonly time: Date | string | number }
  | { readonly snapshot: string | number | bigint }
  /** An HLC as a number of 64 bits, in decimal text, or as 16 hex digits. */
  | { readonly hlc: bigint | string };

export type Moment =
  | { readonly kind: "now" }
  /** Microseconds since 1970. */
  | { readonly kind: "time"; readonly micros: number }
  | { readonly kind: "hlc"; readonly hlc: HlcText }
  | { readonly kind: "snapshot"; readonly id: string };

/** One edit of one row, as the history has it. */
export interface Edit {
  readonly shard: string;
  readonly seq: number;
  /** When the gateway took it, microseconds since 1970. */
  readonly received: number;
  readonly hlc: HlcText;
  readonly clientId: ClientId;
  readonly op: "INSERT" | "UPDATE" | "DELETE";
  readonly rowId: string;
  /** Cells that it names, by the column's id. */
  readonly cells: Readonly<Record<string, Scalar>>;
}

/** Highest seq of each shard. */
export type Watermarks = ReadonlyMap<string, number>;

const bad = (what: string) => new LakeSyncError("BadRequest", `asOf ${what}.`);

export function momentOf(asOf: AsOf | undefined): Moment {
  if (asOf === undefined) return { kind: "now" };
  if (typeof asOf === "string" || asOf instanceof Date) return timeOf(asOf);
  if ("time" in asOf) return timeOf(asOf.time);
  if ("snapshot" in asOf) return { kind: "snapshot", id: String(asOf.snapshot) };
  const { hlc } = asOf;
  if (isHlcText(hlc)) return { kind: "hlc", hlc };
  const text = /^\d{1,20}$/.test(String(hlc)) ? hlcFromBigInt(BigInt(hlc)) : undefined;
  if (text === undefined) throw bad("is no HLC: a number of 64 bits, or its 16 hex digits");
  return { kind: "hlc", hlc: text };
}

function timeOf(time: Date | string | number): Moment {
  const micros = typeof time === "string" ? microsOfText(time) : Number(time) * 1000;
  if (!Number.isFinite(micros)) throw bad("is no time: a Date, milliseconds since 1970, or ISO 8601");
  return { kind: "time", micros };
}

/** Digits past the milliseconds count. */
function microsOfText(text: string): number {
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1] ?? "";
  return Date.parse(text) * 1000 + Number(micros.padEnd(3, "0"));
}

/** @param held what the snapshot of a moment of that kind holds */
export function includes(
  moment: Moment,
  edit: Pick<Edit, "shard" | "seq" | "received" | "hlc">,
  held: Watermarks,
): boolean {
  switch (moment.kind) {
    case "now":
      return true;
    case "time":
      return edit.received <= moment.micros;
    case "hlc":
      return edit.hlc <= moment.hlc;
    case "snapshot":
      return edit.seq <= (held.get(edit.shard) ?? 0);
  }
}
