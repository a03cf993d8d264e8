/**
 * latency: two devices of the SDK over WebSockets, in this process: from the moment an app on A asks for a write until the live
 * query of an app on B has its row: A's commit with outbox, push to the hub, to the shard, on disk, page, B's commit, B's
 * query; and the same way without the SDK (`raw`): two bare sockets. One edit at a time, and 100 a second.
 *
 *   echo    an object of the same workerd that sends back a message of the same size
 *   stored  one that does so once a second object has it on disk: the least that can be done for an edit that is not lost
 *   auto    what the runtime answers for the hub, without waking it
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, createClient, defineTable, integer, number, text, timestamp } from "../../client/index.ts";
import { encodeBatch, type proto } from "../../schemas/index.ts";
import { type Bench, type Sheet, sheet } from "../bench.ts";
import { Gateway } from "../gateway.ts";
import { startWorld } from "../harness.ts";
import { Clock, newRow, toBatch, USER } from "../rows.ts";
import { Echo, Socket } from "../socket.ts";
import { measure, percentile, progress, ratioOf, timed } from "../stats.ts";

const ROUNDS = 5;
const SAMPLES = 100;
const FAST_SAMPLES = 300;
const FAST_GAP_MS = 10;

/** Takes pages, pulls whenever it is poked, one pull at a time, and says which rows came. */
class Reader {
  readonly #socket: Socket;
  readonly #seen: (rowId: string) => void;
  #cursor = "";
  #pulling = false;
  #poked = false;

  constructor(socket: Socket, seen: (rowId: string) => void) {
    this.#socket = socket;
    this.#seen = seen;
    socket.onFrame((frame) => this.#take(frame));
    this.#pull();
  }

  #pull(): void {
    this.#pulling = true;
    this.#poked = false;
    const value = { clientId: "reader", cursor: this.#cursor, columnar: true, follow: true };
    this.#socket.send({ id: 1, body: { case: "pull", value: value as proto.PullRequest } });
  }

  #take({ body }: proto.Frame): void {
    if (body.case === "error") throw new Error(body.value.message);
    if (body.case === "poke" && this.#pulling) this.#poked = true;
    else if (body.case === "poke") this.#pull();
    if (body.case !== "page") return;
    if (body.value.follows !== "" && body.value.follows !== this.#cursor) return;
    if (body.value.follows === "") this.#pulling = false;
    this.#cursor = body.value.cursor;
    for (const batch of body.value.batches) for (const id of JSON.parse(batch.rowIds) as string[]) this.#seen(id);
    if (!this.#pulling && (this.#poked || body.value.hasMore)) this.#pull();
  }
}

/** Sends one edit, and resolves when the other device has it. */
type Deliver = () => Promise<number>;

interface Road {
  readonly deliver: Deliver;
  close(): Promise<void>;
}

/** Two bare sockets. */
async function rawRoad(gateway: Gateway): Promise<Road & { readonly auto: () => Promise<void> }> {
  const clock = new Clock();
  const [a, b] = [await Socket.open(gateway), await Socket.open(gateway)];
  const waiting = new Map<string, () => void>();
  new Reader(b, (id) => waiting.get(id)?.());
  let n = 0;
  const deliver = async (): Promise<number> => {
    const edit = newRow(n++, clock, "counted");
    const batches = [encodeBatch(toBatch([edit]))];
    return timed(async () => {
      const there = new Promise<void>((done) => waiting.set(edit.id, done));
      const value = { clientId: "writer", batches } as unknown as proto.PushRequest;
      a.send({ id: 1, body: { case: "push", value } });
      await there;
      waiting.delete(edit.id);
    });
  };
  const close = async () => {
    a.close();
    b.close();
  };
  return { deliver, close, auto: () => b.ping() };
}

const schema = defineTable({
  orders: { owner: text(), name: text(), amount: number(), count: integer(), at: timestamp() },
});

/** Two apps. */
async function sdkRoad(gateway: Gateway): Promise<Road> {
  const { origin: url } = gateway.url("");
  const open = (): Promise<Client<typeof schema>> =>
    createClient({ name: "latency", backend: "memory", schema, url, gatewayId: gateway.id, token: gateway.token });
  const [a, b] = [await open(), await open()];
  const waiting = new Map<string, () => void>();
  // What an app shows: the newest rows, not all there are.
  b.db.live<{ id: string }>("SELECT id FROM orders WHERE owner = ? ORDER BY at DESC LIMIT 50", [USER], (rows) => {
    for (const { id } of rows) waiting.get(id)?.();
  });
  await b.db.exec("CREATE INDEX newest ON orders (owner, at)");
  const live = async (): Promise<boolean> => {
    const seen = [await a.sync.status(), await b.sync.status()];
    return seen.every((status) => status.live && status.state === "idle");
  };
  while (!(await live())) await sleep(20);
  let n = 0;
  const started = Date.now();
  const deliver = async (): Promise<number> => {
    const id = `sdk-${n++}`;
    return timed(async () => {
      const there = new Promise<void>((done) => waiting.set(id, done));
      await a.orders.insert({
        id,
        owner: USER,
        name: `order ${n}`,
        amount: n / 4,
        count: n,
        at: new Date(started + n),
      });
      await there;
      waiting.delete(id);
    });
  };
  const close = async () => {
    await a.close();
    await b.close();
  };
  return { deliver, close };
}

const SHARES = [
  ["p50", 0.5],
  ["p99", 0.99],
] as const;

const YARDSTICKS = ["echo", "stored", "auto"] as const;
type Yardsticks = Readonly<Record<(typeof YARDSTICKS)[number], () => Promise<void>>>;

/** One at a time, each beside the yardsticks. */
async function slowly(out: Sheet, name: string, { deliver }: Road, yardsticks: Yardsticks): Promise<void> {
  const rounds: Record<"ours" | keyof Yardsticks, number[]>[] = [];
  for (let at = 0; at < 50; at++) await deliver();
  for (let round = 0; round < ROUNDS; round++) {
    progress(`latency ${name}: one at a time, round ${round + 1} of ${ROUNDS}`);
    const times = { ours: [] as number[], echo: [] as number[], stored: [] as number[], auto: [] as number[] };
    for (let at = 0; at < SAMPLES; at++) {
      for (const yardstick of YARDSTICKS) times[yardstick].push(await timed(yardsticks[yardstick]));
      times.ours.push(await deliver());
      await sleep(5);
    }
    rounds.push(times);
  }
  for (const [percent, share] of SHARES) {
    const of = (what: "ours" | keyof Yardsticks) => rounds.map((times) => percentile(times[what], share));
    const ours = of("ours");
    out.ratio(percent + name, ratioOf(of("echo"), ours));
    out.ratio(`${percent}${name}Stored`, ratioOf(of("stored"), ours));
    out.figure(`${percent}${name}Ms`, measure(ours), "ms");
    for (const yardstick of YARDSTICKS) {
      const label = yardstick[0]?.toUpperCase() + yardstick.slice(1);
      out.figure(`${percent}${name}${label}Ms`, measure(of(yardstick)), "ms");
    }
  }
}

async function quickly(out: Sheet, name: string, { deliver }: Road): Promise<void> {
  const rounds: number[][] = [];
  for (let round = 0; round < ROUNDS; round++) {
    progress(`latency ${name}: 100 a second, round ${round + 1} of ${ROUNDS}`);
    const pending: Promise<number>[] = [];
    for (let at = 0; at < FAST_SAMPLES; at++) {
      pending.push(deliver());
      await sleep(FAST_GAP_MS);
    }
    rounds.push(await Promise.all(pending));
  }
  for (const [percent, share] of SHARES)
    out.figure(`${percent}${name}MsAt100PerSecond`, measure(rounds.map((times) => percentile(times, share))), "ms");
}

export const latency: Bench = {
  name: "latency",
  async run() {
    const out = sheet();
    const world = await startWorld();
    try {
      const gateway = await Gateway.open(world, "latency-raw");
      const raw = await rawRoad(gateway);
      const message = gateway.encodePush([newRow(0, new Clock(), "counted")]);
      const echo = await Echo.open(new URL("/echo?of=echo", world.bare));
      const stored = await Echo.open(new URL("/stored?of=echo", world.bare));
      const yardsticks = { echo: () => echo.send(message), stored: () => stored.send(message), auto: raw.auto };
      const sdk = await sdkRoad(await Gateway.open(world, "latency-sdk"));
      for (const [name, road] of [
        ["", sdk],
        ["Raw", raw],
      ] as const) {
        await slowly(out, name, road, yardsticks);
        await quickly(out, name, road);
      }
      await sdk.close();
      await raw.close();
      echo.close();
      stored.close();
    } finally {
      await world.stop();
    }
    return out;
  },
};
