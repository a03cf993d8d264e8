/**
 * A conflict on purpose, on the two real devices: both go offline, both edit one task, both come back.
 *
 *   different columns   Alice renames it, Bob ticks it off: both edits are there afterwards
 *   the same column     both rename it: the later edit wins, on both devices
 */
import { LakeSyncError } from "lakesync/client";
import type { AppClient } from "./schema.ts";

export type Act = "columns" | "same";

export interface Devices {
  readonly alice: AppClient;
  readonly bob: AppClient;
}

/** What to do, and what to tell; a step without something to do is for looking. */
interface Step {
  readonly text: string;
  readonly run?: (devices: Devices, id: string) => Promise<unknown>;
}

const offline: Step = {
  text: "Both devices lose the network.",
  run: async ({ alice, bob }) => {
    alice.sync.stopAutoSync();
    bob.sync.stopAutoSync();
  },
};

const online: Step = {
  text: "The network is back. Each device sends what waits in its outbox.",
  run: async (devices, id) => {
    devices.alice.sync.startAutoSync();
    devices.bob.sync.startAutoSync();
    await untilEqual(devices, id);
  },
};

export const ACTS: Readonly<Record<Act, readonly Step[]>> = {
  columns: [
    { text: "Alice and Bob look at the same task.", run: begin },
    offline,
    { text: "Alice renames it.", run: ({ alice }, id) => alice.todos.update(id, { title: "Pack the picnic for six" }) },
    { text: "Bob, who cannot see that, ticks it off.", run: ({ bob }, id) => bob.todos.update(id, { done: true }) },
    online,
    { text: "Both edits survive on both devices: the title is Alice’s, the tick is Bob’s. Nobody had to choose." },
  ],
  same: [
    { text: "Once more: the same task on both devices.", run: begin },
    offline,
    { text: "Alice renames it.", run: ({ alice }, id) => alice.todos.update(id, { title: "Pack sandwiches" }) },
    {
      text: "A moment later, Bob renames it, too.",
      run: ({ bob }, id) => bob.todos.update(id, { title: "Pack a cake" }),
    },
    online,
    { text: "One cell, two values: the later edit wins, on both devices. They never end up different." },
  ],
};

/** Puts the task there, and waits until both devices have it. */
async function begin(devices: Devices, id: string): Promise<void> {
  const { alice, bob } = devices;
  alice.sync.startAutoSync();
  bob.sync.startAutoSync();
  const [list] = await alice.lists.find({ scope: "shared" }, { orderBy: "rank", limit: 1 });
  const row = { list: list?.id ?? "", title: "Pack the picnic", done: false, rank: 0, scope: "shared", owner: "alice" };
  if (await alice.todos.get(id)) await alice.todos.update(id, row);
  else await alice.todos.insert({ id, ...row });
  await untilEqual(devices, id);
}

const PATIENCE_MS = 15_000;

/** Resolves once nothing waits any more and the task is the same on both devices. */
async function untilEqual({ alice, bob }: Devices, id: string): Promise<void> {
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; ) {
    const waiting = (await alice.sync.status()).pending + (await bob.sync.status()).pending;
    const [a, b] = [JSON.stringify(await alice.todos.get(id)), JSON.stringify(await bob.todos.get(id))];
    if (waiting === 0 && a !== undefined && a === b) return;
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  throw new LakeSyncError("Timeout", "The devices do not meet: the gateway cannot be reached.");
}
