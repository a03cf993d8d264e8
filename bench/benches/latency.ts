/**
 * latency: from the moment device A sends an edit until device B has the changed row, over two WebSockets: push to the hub,
 * to the shard, on disk, poke, pull, page. Beside it the hub's echo on B's socket. One edit at a time, and 100 a second.
 */

import { encodeBatch, type proto } from "../../schemas/index.ts";
import { type Bench, sheet } from "../bench.ts";
import { Gateway } from "../gateway.ts";
import { startWorld } from "../harness.ts";
import { Clock, newRow, toBatch } from "../rows.ts";
import { Socket } from "../socket.ts";
import { measure, percentile, progress, timed } from "../stats.ts";

const ROUNDS = 5;
const SAMPLES = 100;
const FAST_SAMPLES = 300;
const FAST_GAP_MS = 10;

/** Pulls whenever it is poked, one pull at a time, and says which rows came. */
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
    const value = { clientId: "reader", cursor: this.#cursor, columnar: true };
    this.#socket.send({ id: 1, body: { case: "pull", value: value as proto.PullRequest } });
  }

  #take({ body }: proto.Frame): void {
    if (body.case === "error") throw new Error(body.value.message);
    if (body.case === "poke" && this.#pulling) this.#poked = true;
    else if (body.case === "poke") this.#pull();
    if (body.case !== "page") return;
    this.#pulling = false;
    this.#cursor = body.value.cursor;
    for (const batch of body.value.batches) for (const id of JSON.parse(batch.rowIds) as string[]) this.#seen(id);
    if (this.#poked || body.value.hasMore) this.#pull();
  }
}

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

export const latency: Bench = {
  name: "latency",
  async run() {
    const out = sheet();
    const world = await startWorld();
    try {
      const gateway = await Gateway.open(world, "latency");
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
          a.send({
            id: 1,
            body: { case: "push", value: { clientId: "writer", batches } as unknown as proto.PushRequest },
          });
          await there;
          waiting.delete(edit.id);
        });
      };
      for (let at = 0; at < 50; at++) await deliver();
      const p: Record<"p50" | "p99", { ours: number[]; echo: number[] }> = {
        p50: { ours: [], echo: [] },
        p99: { ours: [], echo: [] },
      };
      for (let round = 0; round < ROUNDS; round++) {
        progress(`latency: one at a time, round ${round + 1} of ${ROUNDS}`);
        const [ours, echo]: number[][] = [[], []];
        for (let at = 0; at < SAMPLES; at++) {
          echo?.push(await timed(() => b.ping()));
          ours?.push(await deliver());
          await sleep(5);
        }
        for (const [name, share] of [
          ["p50", 0.5],
          ["p99", 0.99],
        ] as const) {
          p[name].ours.push(percentile(ours ?? [], share));
          p[name].echo.push(percentile(echo ?? [], share));
        }
      }
      for (const name of ["p50", "p99"] as const) {
        const { ours, echo } = p[name];
        out.ratio(name, measure(echo.map((e, at) => e / (ours[at] as number))));
        out.figure(`${name}Ms`, measure(ours), "ms");
        out.figure(`${name}EchoMs`, measure(echo), "ms");
      }
      const fast: Record<"p50" | "p99", number[]> = { p50: [], p99: [] };
      for (let round = 0; round < ROUNDS; round++) {
        progress(`latency: 100 a second, round ${round + 1} of ${ROUNDS}`);
        const pending: Promise<number>[] = [];
        for (let at = 0; at < FAST_SAMPLES; at++) {
          pending.push(deliver());
          await sleep(FAST_GAP_MS);
        }
        const times = await Promise.all(pending);
        fast.p50.push(percentile(times, 0.5));
        fast.p99.push(percentile(times, 0.99));
      }
      out.figure("p50MsAt100PerSecond", measure(fast.p50), "ms");
      out.figure("p99MsAt100PerSecond", measure(fast.p99), "ms");
      a.close();
      b.close();
    } finally {
      await world.stop();
    }
    return out;
  },
};
