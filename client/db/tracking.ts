/**
 * What triggers ask for while they write the outbox: SQL functions on the connection. They live beside the connection (in
 * the worker, where there is one), because SQLite calls them synchronously.
 *
 *   lakesync_on()                 1 while writes are the app's own, 0 while remote rows are applied
 *   lakesync_hlc()                a new stamp, as a 64-bit integer greater than any before (H1)
 *   lakesync_apply(flag)          turns tracking off (1) and on (0)
 *   lakesync_clock(last, offset)  sets the clock: greatest stamp so far as text, gateway's time minus ours in ms
 *   lakesync_receive(hlc)         moves the clock past a remote stamp; 0 when it is refused as drifted (H2)
 *   lakesync_last()               greatest stamp given or received, as text: what is persisted
 *
 * A program without these functions cannot write tracked tables: it fails instead of writing what nobody would sync.
 */
import { type Clock, TickingClock } from "../../core/index.ts";
import { type HlcText, hlcToBigInt } from "../../schemas/index.ts";
import type { SqlValue } from "./driver.ts";

export type SqlFunction = (...args: SqlValue[]) => SqlValue;

export function trackingFunctions(clock: Clock): ReadonlyMap<string, { arity: number; call: SqlFunction }> {
  let applying = false;
  let offset = 0;
  const wall: Clock = { now: () => clock.now() + offset };
  let hlc = new TickingClock(wall);
  const entry = (arity: number, call: SqlFunction) => ({ arity, call });
  return new Map([
    ["lakesync_on", entry(0, () => (applying ? 0 : 1))],
    ["lakesync_hlc", entry(0, () => hlcToBigInt(hlc.tick()))],
    [
      "lakesync_apply",
      entry(1, (flag) => {
        applying = Number(flag) === 1;
        return null;
      }),
    ],
    [
      "lakesync_clock",
      entry(2, (last, ms) => {
        offset = Number(ms);
        hlc = new TickingClock(wall, last as HlcText);
        return null;
      }),
    ],
    ["lakesync_receive", entry(1, (remote) => (hlc.pass(remote as HlcText) ? 0 : 1))],
    ["lakesync_last", entry(0, () => hlc.last)],
  ]);
}
