/** Faults, one after the other and many at once, drawn from a seed. */
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../kernel/random.ts";
import type { Tally } from "../kernel/tally.ts";
import { BrowserDevice, NodeDevice } from "./devices.ts";
import { administer } from "./outside.ts";
import { inTime } from "./process.ts";
import type { Stage } from "./stage.ts";

/** A fault and what mends it. Milliseconds. */
const FAULT_MS = 120_000;

export class Storm {
  readonly #stage: Stage;
  readonly #random: Random;
  readonly #tally: Tally;
  readonly #note: (who: string, what: string) => void;
  /** What is still under way. */
  readonly #under = new Set<Promise<void>>();
  #gatewayBusy = false;
  #diskBusy = false;
  readonly #dying = new Set<Stage["devices"][number]>();

  constructor(stage: Stage, seed: number, tally: Tally, note: (who: string, what: string) => void) {
    this.#stage = stage;
    this.#random = new Random(seed, "storm");
    this.#tally = tally;
    this.#note = note;
  }

  async rage(ms: number): Promise<void> {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      this.#strike();
      await sleep(this.#random.int(300, 3000));
    }
    await Promise.all(this.#under);
  }

  #strike(): void {
    const random = this.#random;
    const device = random.pick(this.#stage.devices);
    const { road } = device;
    const ms = random.int(300, 12_000);
    const faults: readonly (readonly [weight: number, name: string, () => Promise<void>])[] = [
      [3, "gateway killed", () => this.#killGateway()],
      [5, "device killed", () => this.#killDevice(device)],
      [
        3,
        "network cut",
        () =>
          this.#road(
            () => road.cut(),
            ms,
            () => road.heal(),
          ),
      ],
      [
        3,
        "network half-open",
        () =>
          this.#road(
            () => road.silence(),
            ms * 2,
            () => road.heal(),
          ),
      ],
      [
        3,
        "network slow",
        () =>
          this.#road(
            () => road.slow(random.int(20, 1500)),
            ms,
            () => road.heal(),
          ),
      ],
      [2, "clock stepped", () => this.#step(device)],
      [1, "disk full", () => this.#fill()],
      [1, "table moved", () => this.#administered("PUT", random.pick(["todos", "notes"]), random.int(0, 3))],
      [1, "flush asked for", () => this.#administered("POST", "flush")],
      [1, "upkeep asked for", () => this.#administered("POST", "compact")],
    ];
    let left = random.next() * faults.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, name, run] of faults) {
      left -= weight;
      if (left >= 0) continue;
      this.#note(name.includes("gateway") || name.includes("disk") ? "stage" : device.name, name);
      const under = inTime(name, run(), FAULT_MS).then(
        () => this.#tally.add(name),
        (error: unknown) => this.#note("stage", `${name}: ${error}`),
      );
      const done = under.finally(() => this.#under.delete(done));
      this.#under.add(done);
      return;
    }
  }

  async #killGateway(): Promise<void> {
    if (this.#gatewayBusy) throw new Error("it is dead already");
    this.#gatewayBusy = true;
    try {
      await this.#stage.killGateway();
      await sleep(this.#random.int(0, 2000));
      await this.#stage.startGateway(this.#random.pick([0, 0.02, 0.1, 0.3]));
    } finally {
      this.#gatewayBusy = false;
    }
  }

  async #killDevice(device: Stage["devices"][number]): Promise<void> {
    if (this.#dying.has(device)) throw new Error("it is dead already");
    this.#dying.add(device);
    try {
      if (device instanceof BrowserDevice && this.#random.chance(0.6)) {
        await device.killPage();
        this.#tally.add("page killed");
      } else await device.kill();
      await sleep(this.#random.int(0, 3000));
      await device.start();
    } finally {
      this.#dying.delete(device);
    }
  }

  async #road(begin: () => void, ms: number, end: () => void): Promise<void> {
    begin();
    await sleep(ms);
    end();
  }

  async #step(device: Stage["devices"][number]): Promise<void> {
    if (!(device instanceof NodeDevice)) throw new Error("a browser's clock is the machine's");
    await device.step(this.#random.pick([-3_600_000, -5000, 3000, 90_000, 3_600_000]));
  }

  async #fill(): Promise<void> {
    if (this.#diskBusy || !this.#stage.disk.mounted) throw new Error("not now");
    this.#diskBusy = true;
    const giveBack = await this.#stage.disk.fill();
    await sleep(this.#random.int(1000, 5000));
    await giveBack();
    this.#diskBusy = false;
  }

  async #administered(method: "PUT" | "POST", what: string, shards = 0): Promise<void> {
    if (method === "PUT") await this.#stage.putTable(what, shards);
    else await administer(this.#stage.address, "POST", what);
  }
}
