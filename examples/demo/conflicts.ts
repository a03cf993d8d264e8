/**
 * What makes sync hard, on the films: edits of different columns, of the same column, deletes, and an edit that was made
 * offline long before it arrives; and alice and bob on one task, whoever syncs first.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { cell, type Device } from "./devices.ts";

export interface Conflicts {
  /** Concurrent edits of different columns both survive, in every order of syncing. */
  readonly columnMerge: boolean;
  /** The later edit of one cell wins, whoever arrives last. */
  readonly sameColumn: boolean;
  /** An edit made offline reaches devices that had already pulled newer ones, and loses to none that it does not touch. */
  readonly lateEdit: boolean;
  /** A deleted row is gone everywhere, and a late update does not bring it back. */
  readonly delete: boolean;
}

const settle = async (...devices: Device[]): Promise<void> => {
  for (const device of [...devices, ...devices]) await device.sync.syncOnce();
};

export async function runConflicts(alice: Device, bob: Device, carol: Device): Promise<Conflicts> {
  await settle(alice, bob, carol);
  return {
    columnMerge: await taskInEveryOrder(alice, bob, carol),
    sameColumn: await sameColumn(alice, bob, carol),
    lateEdit: await lateEdit(alice, bob, carol),
    delete: await deletes(alice, bob, carol),
  };
}

/** Title from one, status from the other: three devices, every order in which they may sync. */
async function taskInEveryOrder(alice: Device, bob: Device, carol: Device): Promise<boolean> {
  const orders = [
    [alice, bob, carol],
    [alice, carol, bob],
    [bob, alice, carol],
    [bob, carol, alice],
    [carol, alice, bob],
    [carol, bob, alice],
  ];
  let good = true;
  for (const [n, order] of orders.entries()) {
    const id = `task-${n}`;
    await carol.sync.tracker.insert("tasks", id, { title: "Draft", status: "todo" });
    await settle(carol, alice, bob);
    await alice.sync.tracker.update("tasks", id, { title: "Buy milk" });
    await bob.sync.tracker.update("tasks", id, { status: "done" });
    await settle(...order);
    for (const device of order)
      good &&=
        (await cell(device, "tasks", id, "title")) === "Buy milk" &&
        (await cell(device, "tasks", id, "status")) === "done";
  }
  return good;
}

async function sameColumn(alice: Device, bob: Device, carol: Device): Promise<boolean> {
  await alice.sync.tracker.update("movies", "movie-1", { director: "Alice" });
  await sleep(5); // within one millisecond nobody is later: the client ids decide
  await bob.sync.tracker.update("movies", "movie-1", { director: "Bob" });
  await settle(bob, alice, carol); // the earlier one arrives last
  const seen = await Promise.all([alice, bob, carol].map((d) => cell(d, "movies", "movie-1", "director")));
  return seen.every((director) => director === "Bob");
}

async function lateEdit(alice: Device, bob: Device, carol: Device): Promise<boolean> {
  await bob.sync.tracker.update("movies", "movie-2", { major_genre: "Offline" }); // bob is offline, and stays so
  await alice.sync.tracker.update("movies", "movie-2", { distributor: "Later" });
  for (let n = 10; n < 20; n++) await alice.sync.tracker.update("movies", `movie-${n}`, { imdb_votes: n });
  await settle(alice, carol); // carol's cursor is past bob's clock by now
  await settle(bob, alice, carol);
  const seen = await Promise.all(
    [alice, bob, carol].map(async (d) => [
      await cell(d, "movies", "movie-2", "major_genre"),
      await cell(d, "movies", "movie-2", "distributor"),
    ]),
  );
  return seen.every(([genre, distributor]) => genre === "Offline" && distributor === "Later");
}

async function deletes(alice: Device, bob: Device, carol: Device): Promise<boolean> {
  await bob.sync.tracker.update("movies", "movie-3", { title: "Too late" });
  await alice.sync.tracker.delete("movies", "movie-3");
  for (let n = 100; n < 150; n++) await alice.sync.tracker.delete("movies", `movie-${n}`);
  await settle(alice, bob, carol);
  const seen = await Promise.all([alice, bob, carol].map((d) => cell(d, "movies", "movie-3", "title")));
  return seen.every((title) => title === undefined);
}
