/** Pages that come unasked: whoever follows gets what it would have pulled, and nothing else. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { type ClientId, cellsAt, decodeBatch, FOLLOWED_EDITS_MAX, proto, unwrap } from "../schemas/index.ts";
import {
  ALL,
  Device,
  eventually,
  hlc,
  type Json,
  OWN,
  type TestGateway,
  TestSocket,
  todos,
} from "./testing/gateway.ts";

const text = (value: string) => ({ kind: { case: "stringValue" as const, value } });
const edit = (rowId: string, cells: Record<string, string>, op = proto.Op.INSERT) => ({
  op,
  table: "todos",
  rowId,
  hlc: BigInt(hlc()),
  columns: Object.entries(cells).map(([column, value]) => ({ column, value: text(value) })),
});

/** A device over a socket: takes pages that fit, pulls at pokes and where one does not. */
class Follower {
  readonly rows = new Map<string, Json>();
  readonly socket: TestSocket;
  readonly #clientId: string;
  cursor = "";
  pulls = 0;
  /** Pages that came unasked, as they came. */
  readonly pages: proto.PullResponse[] = [];
  #read = 0;

  private constructor(socket: TestSocket, clientId: string) {
    this.socket = socket;
    this.#clientId = clientId;
  }

  static async open(gateway: TestGateway, sub: string, claims: Json = {}): Promise<Follower> {
    const follower = new Follower(await TestSocket.open(gateway, await gateway.token(sub, claims)), `${sub}-1`);
    await follower.pull();
    return follower;
  }

  #merge(page: proto.PullResponse): void {
    if (page.resync) this.rows.clear();
    for (const batch of page.batches.map((packed) => unwrap(decodeBatch(packed, "" as ClientId))))
      batch.rowIds.forEach((rowId, at) => {
        const key = `${batch.table}/${rowId}`;
        if (/[DR]/.test(batch.ops[at] as string)) this.rows.delete(key);
        else this.rows.set(key, { ...this.rows.get(key), ...cellsAt(batch, at) });
      });
    this.cursor = page.cursor;
  }

  async pull(): Promise<void> {
    this.pulls++;
    const value = { clientId: this.#clientId, cursor: this.cursor, columnar: true, follow: true };
    const answer = await this.socket.ask({ case: "pull", value });
    if (answer.case !== "page") throw new Error(JSON.stringify(answer.value));
    this.#merge(answer.value);
  }

  /** What has come since it last looked. */
  async take(): Promise<void> {
    let behind = false;
    for (; this.#read < this.socket.frames.length; this.#read++) {
      const { id, body } = this.socket.frames[this.#read] as proto.Frame;
      if (body.case === "poke") behind = true;
      if (id !== 0 || body.case !== "page") continue;
      this.pages.push(body.value);
      if (body.value.follows === this.cursor) this.#merge(body.value);
      else behind = true;
    }
    if (behind) await this.pull();
  }

  async push(...deltas: ReturnType<typeof edit>[]): Promise<proto.PushResponse> {
    const answer = await this.socket.ask({ case: "push", value: { clientId: this.#clientId, deltas } });
    if (answer.case !== "pushed") throw new Error(JSON.stringify(answer.value));
    return answer.value;
  }

  get content(): string[] {
    return [...this.rows].map(([key, row]) => `${key} ${JSON.stringify(Object.entries(row).sort())}`).sort();
  }
}

/** What somebody who pulls from nothing gets. */
async function pulled(gateway: TestGateway, sub: string, claims: Json = {}): Promise<string[]> {
  const device = new Device(gateway, sub, claims);
  await device.pull();
  return device.content;
}

/** Until the follower holds just that. */
const comesTo = (follower: Follower, content: readonly string[]) =>
  eventually(async () => {
    await follower.take();
    return JSON.stringify(follower.content) === JSON.stringify(content);
  });

test("[PL2] [PU1] an edit is sent to those who follow, and to its author, as a pull would have it: no poke, no pull", async () => {
  const gateway = await todos(ALL);
  const [alice, bob] = [await Follower.open(gateway, "alice"), await Follower.open(gateway, "bob")];
  for (const n of [1, 2, 3]) {
    await alice.push(edit(`r${n}`, { title: `${n}`, owner: "alice" }));
    await alice.take(); // before the answer
    expect(alice.pages.length).toBe(n);
    await comesTo(bob, await pulled(gateway, "bob"));
    expect(bob.pages.at(-1)?.digests).toEqual({ todos: expect.stringMatching(/^\d+-/) });
  }
  expect(alice.content).toEqual(bob.content);
  expect([alice.pulls, bob.pulls, alice.socket.pokes, bob.socket.pokes]).toEqual([1, 1, 0, 0]);
  await bob.pull(); // its cursor is one that the gateway knows
  expect(bob.content).toEqual(alice.content);
});

test("[PL3] [PL4] [PL7] a row that is not for a device is not sent, nor that it is there; one that leaves is taken, one that comes is whole", async () => {
  const gateway = await todos([{ ...OWN[0], write: [] }]);
  const [alice, bob] = [await Follower.open(gateway, "alice"), await Follower.open(gateway, "bob")];
  await alice.push(edit("mine", { title: "a", owner: "alice" }));
  await alice.push(edit("yours", { title: "b", owner: "bob" }));
  await alice.push(edit("mine", { title: "c" }, proto.Op.UPDATE));
  await comesTo(bob, await pulled(gateway, "bob"));
  expect(bob.pages.flatMap((page) => page.batches.map((batch) => batch.rowIds))).toEqual(['["yours"]']);
  await alice.push(edit("mine", { owner: "bob" }, proto.Op.UPDATE));
  await comesTo(bob, await pulled(gateway, "bob"));
  await comesTo(alice, []);
  expect(bob.content.join()).toContain('["title","c"]');
  expect(alice.pages.at(-1)?.batches[0]?.ops).toBe("R");
  expect([alice.pulls, bob.pulls, bob.socket.pokes]).toEqual([1, 1, 0]);
});

test("[PL5] after a change of rules, and after one of claims, nobody is sent pages by the old ones", async () => {
  const gateway = await todos([
    { name: "org", tables: ["todos"], filters: [{ column: "owner", op: "eq", value: "jwt:org" }], write: [] },
  ]);
  const alice = await Follower.open(gateway, "alice", { org: "red" });
  const bob = await Follower.open(gateway, "bob", { org: "blue" });
  await alice.push(edit("r1", { owner: "blue" }));
  await comesTo(bob, await pulled(gateway, "bob", { org: "blue" }));
  await bob.socket.ask({ case: "token", value: await gateway.token("bob", { org: "green" }) });
  await alice.push(edit("r2", { owner: "blue" }), edit("r3", { owner: "green" }));
  await eventually(() => bob.socket.pokes > 0);
  await comesTo(bob, await pulled(gateway, "bob", { org: "green" }));
  expect(bob.content.join()).toMatch(/^todos\/r3 /);
  const unasked = bob.pages.length;
  await gateway.putRules([
    { name: "few", tables: ["todos"], filters: [{ column: "title", op: "eq", value: "open" }], write: [] },
  ]);
  await alice.push(edit("r4", { owner: "green", title: "closed" }), edit("r5", { owner: "red", title: "open" }));
  await comesTo(bob, await pulled(gateway, "bob", { org: "green" }));
  expect(bob.content.join()).toMatch(/^todos\/r5 /);
  expect(bob.pages.length).toBe(unasked);
});

test("[S4] a device that does not read gets no more than so many bytes; then it is poked, pulls, and follows again", async () => {
  const gateway = await todos(ALL);
  const [alice, bob] = [await Follower.open(gateway, "alice"), await Follower.open(gateway, "bob")];
  const large = "x".repeat(20_000);
  for (let n = 0; n < 8; n++) await alice.push(edit(`r${n}`, { title: large }));
  await eventually(() => bob.socket.pokes > 0);
  expect(bob.socket.frames.filter(({ body }) => body.case === "page").length).toBeLessThan(6);
  await comesTo(bob, await pulled(gateway, "bob"));
  const { length } = bob.pages;
  await alice.push(edit("last", { title: "small" }));
  await comesTo(bob, await pulled(gateway, "bob"));
  expect(bob.pages.length).toBe(length + 1);
});

test("pushes of many edits are pulled, and those over HTTP", async () => {
  const gateway = await todos(ALL);
  const [alice, bob] = [await Follower.open(gateway, "alice"), await Follower.open(gateway, "bob")];
  await alice.push(...Array.from({ length: FOLLOWED_EDITS_MAX + 1 }, (_, n) => edit(`r${n}`, { title: "x" })));
  await comesTo(bob, await pulled(gateway, "bob"));
  await gateway.push("carol", "c1", [{ op: "INSERT", table: "todos", rowId: "http", hlc: hlc(), columns: [] }]);
  await comesTo(bob, await pulled(gateway, "bob"));
  expect(bob.pages).toEqual([]);
  await alice.take();
  await alice.push(edit("after", { title: "y" }));
  await comesTo(bob, await pulled(gateway, "bob"));
  expect(bob.pages.length).toBe(1);
});

test("[C9] a hub that has slept pokes, and knows who follows by their pulls", async () => {
  const gateway = await todos(ALL);
  const [alice, bob] = [await Follower.open(gateway, "alice"), await Follower.open(gateway, "bob")];
  await evictDurableObject(gateway.hub);
  await alice.push(edit("r1", { title: "1" }));
  await comesTo(bob, await pulled(gateway, "bob"));
  expect([bob.pages.length, bob.pulls]).toEqual([0, 2]);
  await alice.push(edit("r2", { title: "2" }));
  await comesTo(bob, await pulled(gateway, "bob"));
  expect([bob.pages.length, bob.pulls]).toEqual([1, 2]);
});

test("[C9] where the answer of a shard is lost, all are poked", async () => {
  const gateway = await todos(ALL);
  const [alice, bob] = [await Follower.open(gateway, "alice"), await Follower.open(gateway, "bob")];
  await runInDurableObject(gateway.shard("common"), (shard) => {
    const shared = Object.getPrototypeOf(shard) as { push(...call: unknown[]): Promise<unknown> };
    const { push } = shared;
    shared.push = async function (...call) {
      shared.push = push;
      await push.apply(this, call);
      throw new Error("lost");
    };
  });
  await expect(alice.push(edit("r1", { title: "1" }))).rejects.toThrow("Unavailable");
  await comesTo(bob, await pulled(gateway, "bob"));
  expect(bob.content.length).toBe(1);
  await comesTo(alice, bob.content);
});

test.each([0, 3])(
  "[PL4] [PL7] whatever is pushed by whom, in %i shards: followers hold what those hold who pull",
  async (shards) => {
    const gateway = await todos(
      [
        { ...OWN[0], write: [] },
        { name: "open", tables: ["todos"], filters: [{ column: "title", op: "eq", value: "open" }] },
      ],
      shards ? { shards } : {},
    );
    const users = ["ann", "ben", "cat"];
    const devices = await Promise.all(users.map((sub) => Follower.open(gateway, sub)));
    let seed = 7;
    const below = (n: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * n);
    };
    const anyEdit = () => {
      const rowId = `r${below(6)}`;
      const cells = { owner: users[below(3)] as string, title: ["open", "shut"][below(2)] as string };
      const kind = below(5);
      if (kind === 0) return edit(rowId, {}, proto.Op.DELETE);
      if (kind < 3) return edit(rowId, cells);
      return edit(rowId, kind === 3 ? { owner: cells.owner } : { title: cells.title }, proto.Op.UPDATE);
    };
    for (let step = 0; step < 40; step++) {
      const pushes = devices
        .filter(() => below(3) > 0)
        .map((device) => device.push(...Array.from({ length: 1 + below(3) }, anyEdit)));
      await Promise.all(pushes);
      for (const [at, device] of devices.entries()) await comesTo(device, await pulled(gateway, users[at] as string));
    }
    for (const device of devices) expect(device.pages.length).toBeGreaterThan(10);
  },
);
