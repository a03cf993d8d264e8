/**
 * How a device's clock follows the gateway's (H2, H3). All of it happens inside the transaction that its cause is in.
 *
 *   learn    the gateway's time minus ours, from each answer; matters only when it is large
 *   receive  move past the stamps that came, so that later local edits win over what was seen
 *   restamp  entries that were never acknowledged get new stamps, in the same order, after the last known good one
 */
import { HLC_ZERO, type HlcText, hlcMillis } from "../../schemas/index.ts";
import type { Transaction } from "../db/local-db.ts";

/** Below this, a difference may be the network's or another device's; the hybrid clock evens it out. Milliseconds. */
const OFFSET_MS_MIN = 10_000;

/**
 * The gateway said its time somewhere between question and answer: that span is how exact a measurement can be, and a slow
 * answer must not pass for a clock that is off.
 * @param askedMs our wall clock at the question @param answeredMs and at the answer
 */
export async function learnOffset(
  tx: Transaction,
  serverHlc: HlcText,
  askedMs: number,
  answeredMs: number,
): Promise<void> {
  if (serverHlc === HLC_ZERO) return; // the gateway did not say
  const measured = Math.round(hlcMillis(serverHlc) - (askedMs + answeredMs) / 2);
  const exact = OFFSET_MS_MIN + Math.max(0, answeredMs - askedMs) / 2;
  const held = Number((await tx.getMeta("offset")) ?? 0);
  if (Math.abs(measured - held) < exact) return;
  const offset = Math.abs(measured) < exact ? 0 : measured;
  await tx.setMeta("offset", String(offset));
  await tx.run("SELECT lakesync_clock(lakesync_last(), ?)", [offset]);
}

/** Moves past stamps that came or were acknowledged, and writes them down as known good (H1). */
export async function receive(tx: Transaction, stamps: readonly HlcText[]): Promise<void> {
  const known = ((await tx.getMeta("hlc")) ?? HLC_ZERO) as HlcText;
  let newest = known;
  for (const stamp of stamps) if (stamp > newest) newest = stamp;
  if (newest === known) return;
  const { rows } = await tx.run("SELECT lakesync_receive(?)", [newest]);
  // Refused as drifted (H2): the rows are taken, the clock stays.
  if (rows[0]?.[0] === 1) await tx.setMeta("hlc", newest);
}

/** New stamps for everything in the outbox. */
export async function restamp(tx: Transaction): Promise<void> {
  const known = (await tx.getMeta("hlc")) ?? HLC_ZERO;
  const offset = Number((await tx.getMeta("offset")) ?? 0);
  await tx.run("SELECT lakesync_clock(?, ?)", [known, offset]);
  await tx.run("UPDATE lakesync_outbox SET hlc = -hlc");
  await tx.run(
    `INSERT INTO lakesync_outbox (hlc, tbl, op, row_id, cells, old)
     SELECT lakesync_hlc(), tbl, op, row_id, cells, old FROM lakesync_outbox WHERE hlc < 0 ORDER BY hlc DESC`,
  );
  await tx.run("DELETE FROM lakesync_outbox WHERE hlc < 0");
}
