/** A connection's clock, set past every stamp that this database ever gave out or took in (H1), at the gateway's time (H3). */
import { HLC_ZERO, type HlcText } from "../../schemas/index.ts";
import type { Driver } from "./driver.ts";

/** @param driver of a database with LakeSync's own tables (bookkeeping.ts) */
export async function seedClock(driver: Driver): Promise<void> {
  const { rows } = await driver.execute(
    `SELECT (SELECT value FROM lakesync_meta WHERE key = 'offset'),
       (SELECT max(h) FROM (SELECT value AS h FROM lakesync_meta WHERE key = 'hlc'
         UNION ALL SELECT printf('%016x', max(hlc)) FROM lakesync_outbox
         UNION ALL SELECT max(hlc) FROM lakesync_rejected))`,
  );
  const [offset, last] = rows[0] as readonly [string | null, HlcText | null];
  // Another tab may have this connection already, and its clock may have gone on meanwhile.
  await driver.execute("SELECT lakesync_clock(max(?, lakesync_last()), ?)", [last ?? HLC_ZERO, Number(offset ?? 0)]);
}
