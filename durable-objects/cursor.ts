/**
 * Cursors (PL1): opaque to clients, made of shard sequence numbers. Inside: base64url of
 *
 *   { m: shard map's version, t: tables asked for, s: { shard: [fingerprint, seq, 1 | 0] | [fingerprint, seq, table, after] } }
 */

import { z } from "zod";
import type { Position } from "../core/index.ts";
import {
  base64ToBytes,
  bytesToBase64,
  CURSOR_CHARS_MAX,
  err,
  LakeSyncError,
  ok,
  type Result,
} from "../schemas/index.ts";

export interface CursorPart {
  readonly fingerprint: string;
  readonly position: Position;
}

export interface Cursor {
  readonly map: number;
  /** Sorted and joined; "" for all. */
  readonly tables: string;
  readonly shards: ReadonlyMap<string, CursorPart>;
}

const seq = z.int().min(0);
const packedSchema = z.strictObject({
  m: z.int().min(0),
  t: z.string(),
  s: z.record(
    z.string(),
    z.union([z.tuple([z.string(), seq, z.literal([0, 1])]), z.tuple([z.string(), seq, z.string(), z.string()])]),
  ),
});

export function encodeCursor({ map, tables, shards }: Cursor): string {
  const s: z.infer<typeof packedSchema>["s"] = {};
  for (const [shard, { fingerprint, position: p }] of shards)
    s[shard] = p.at === "tail" ? [fingerprint, p.seq, p.exact ? 1 : 0] : [fingerprint, p.seq, p.table, p.after];
  const bytes = new TextEncoder().encode(JSON.stringify({ m: map, t: tables, s }));
  return bytesToBase64(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

export function decodeCursor(text: string): Result<Cursor, LakeSyncError> {
  const bad = err(
    new LakeSyncError("BadCursor", "The cursor is not one that this gateway gave; leave it out to start from nothing."),
  );
  if (text.length > CURSOR_CHARS_MAX || !/^[A-Za-z0-9_-]+$/.test(text)) return bad;
  try {
    const json: unknown = JSON.parse(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
        base64ToBytes(text.replace(/-/g, "+").replace(/_/g, "/")),
      ),
    );
    const packed = packedSchema.safeParse(json);
    if (!packed.success) return bad;
    const shards = new Map<string, CursorPart>();
    for (const [shard, part] of Object.entries(packed.data.s)) {
      const [fingerprint, at, third, after] = part;
      const position: Position =
        typeof third === "string"
          ? { at: "scan", seq: at, table: third, after: after ?? "" }
          : { at: "tail", seq: at, exact: third === 1 };
      shards.set(shard, { fingerprint, position });
    }
    return ok({ map: packed.data.m, tables: packed.data.t, shards });
  } catch {
    return bad;
  }
}
