/** What has to be true once the faults have stopped, looked at from outside. */
import { setTimeout as sleep } from "node:timers/promises";
import { checkLake, historyOf, type LakeView, type Reading } from "../lake.ts";
import { ADMIN, difference, Oracle } from "../oracle.ts";
import { type App, checkPromises, REJECTED, rejectedEdit } from "../promises.ts";
import type { Device } from "./devices.ts";
import { administer, lakeAt, Reader, rowsOf } from "./outside.ts";
import { RULES_IN_FORCE, type Stage, TEAMS } from "./stage.ts";
import { COLUMNS, TABLES } from "./workload.ts";

/**
 * Once the faults have stopped, everybody is current within this, or has come nearer (C9): how fast a device gets rid of
 * what it wrote while it was cut off depends on the machine. Milliseconds.
 */
const QUIET_MS = 3 * 60_000;
const STILL_MS = 60_000;
/** Snapshots of a table that are read at the end of a round. */
const SNAPSHOTS = 12;

const columnIds = new Map(Object.keys(COLUMNS).map((name, at) => [String(at + 1), name]));

export interface Check {
  readonly name: string;
  /** What is wrong; undefined when nothing is. */
  readonly wrong: string | undefined;
}

export const lakeView = (stage: Stage, oracle: Oracle, readings: readonly Reading[]): LakeView => ({
  ...lakeAt(stage.address),
  tables: TABLES,
  oracle,
  readings,
  columnIds: () => columnIds,
  snapshotsMax: SNAPSHOTS,
});

interface Status {
  readonly move?: { readonly phase: string };
  readonly shards: readonly {
    readonly shard: string;
    readonly unflushedDeltas: number;
    readonly setAside: readonly unknown[];
  }[];
}

/** Waits until `missing` finds nothing missing. @returns what still was when time was over */
async function within(ms: number, missing: () => Promise<string | undefined>): Promise<string | undefined> {
  const end = performance.now() + ms;
  for (;;) {
    const what = await missing().catch((error: unknown) => String(error));
    if (what === undefined || performance.now() > end) return what;
    await sleep(1000);
  }
}

/** @returns what is wrong when an outbox neither gets empty in time, nor smaller all the time */
async function emptied(device: Device, ms: number): Promise<string | undefined> {
  let least = Number.POSITIVE_INFINITY;
  let at = performance.now() + ms;
  for (;;) {
    const wrong = await within(1000, async () => {
      const { outbox, error } = await device.state();
      if (outbox < least) at = Math.max(at, performance.now() + STILL_MS);
      least = Math.min(least, outbox);
      return outbox > 0 ? `${outbox} edits wait, the last error was ${error}` : undefined;
    });
    if (wrong === undefined || performance.now() > at) return wrong;
  }
}

/** Everything, one check after the other. @param calmMs when the faults stopped */
export async function* checks(stage: Stage, readings: readonly Reading[], calmMs: number): AsyncGenerator<Check> {
  const { address, devices } = stage;
  const left = () => Math.max(STILL_MS, calmMs + QUIET_MS - Date.now());
  for (const device of devices)
    yield { name: `[C9] ${device.name} gets rid of its outbox`, wrong: await emptied(device, left()) };
  yield {
    name: "[F2] [F4] [PU4] every log is flushed, every move is over",
    wrong: await within(left(), async () => {
      const { shards, move } = (await administer(address, "GET", "status")) as Status;
      const behind = shards.find((shard) => shard.unflushedDeltas > 0 || shard.setAside.length > 0);
      return behind ? JSON.stringify(behind) : move && `a move is ${move.phase}`;
    }),
  };
  const oracle = new Oracle();
  oracle.storeRules(1, RULES_IN_FORCE);
  const lake = lakeView(stage, oracle, readings);
  for (const table of TABLES) for (const edit of await historyOf(lake, table)) oracle.add(edit);
  yield { name: "[F1] [L1] [L3] the lake: rows, history, snapshots", wrong: await checkLake(lake) };
  yield {
    name: "[C1] [C2] [C6] what apps committed",
    wrong: checkPromises(oracle, await Promise.all(devices.map(appOf))),
  };
  for (const device of devices) {
    const { user } = device.job;
    const expected = oracle.expected({ sub: user, role: "client", teams: [...(TEAMS[user] ?? [])] });
    yield {
      name: `[C9] [PL2] [PL5] ${device.name} holds what ${user} may see`,
      wrong: await within(left(), async () => difference(expected, rowsOf(await tablesOf(device)))),
    };
  }
  for (const reader of stage.readers) {
    const user = reader.db.name;
    const expected = oracle.expected({ sub: user, role: "client", teams: [...(TEAMS[user] ?? [])] });
    yield {
      name: `[PL4] who reads as ${user} holds that too`,
      wrong: await within(left(), async () => difference(expected, await reader.rows())),
    };
  }
  const fresh = await Reader.open(address, { ...ADMIN }, {}, () => undefined);
  yield {
    name: "[M1] [PU1] the shards, pulled from nothing",
    wrong: await within(left(), async () => difference(oracle.expected(ADMIN), await fresh.rows())),
  };
  await fresh.close();
}

async function tablesOf(device: Device) {
  return Object.fromEntries(
    await Promise.all(TABLES.map(async (table) => [table, await device.look(`SELECT * FROM ${table}`)] as const)),
  );
}

async function appOf(device: Device): Promise<App> {
  const [, ...rejected] = await device.look(REJECTED);
  const { name, clientIds, written } = device;
  return { name, clientIds: [...clientIds], written, rejected: rejected.map(rejectedEdit) };
}
