/**
 * `npm run test:faults`: the real gateway in workerd, devices in processes of Node and in Chromium, and real faults: kill -9,
 * a network that is cut, slow or half-open, R2 and queues that fail, clocks that step, a disk that is full. Rounds of storm,
 * each followed by a calm in which everything is looked at from outside.
 *
 *   --minutes 2     how long, calms included    --round 4      minutes of a round's storm at most
 *   --seed 1        which faults, and when      --clients 4    --browsers 1    --tabs 2
 *   --pause 150     milliseconds between two transactions of a device
 *
 * The last line is `N passed, N failed`; the exit code is 1 if any failed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { initParquetInNode } from "../../lake/node.ts";
import { isLakeSyncError } from "../../schemas/index.ts";
import { Tally } from "../kernel/tally.ts";
import { type Reading, readNow } from "../lake.ts";
import { Oracle } from "../oracle.ts";
import { Stage } from "./stage.ts";
import { Storm } from "./storm.ts";
import { checks, lakeView } from "./verdict.ts";
import { TABLES } from "./workload.ts";

const OPTIONS = {
  minutes: { type: "string", default: "2" },
  round: { type: "string", default: "4" },
  seed: { type: "string", default: "1" },
  clients: { type: "string", default: "4" },
  browsers: { type: "string", default: "1" },
  tabs: { type: "string", default: "2" },
  pause: { type: "string", default: "150" },
} as const;
/** An engine takes a look at the lake this often. Milliseconds. */
const ENGINE_MS = 10_000;

const began = Date.now();
const say = (line: string) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(7)}  ${line}`);

export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  return new Trial(values).run();
}

type Values = Readonly<Record<keyof typeof OPTIONS, string>>;

class Trial {
  readonly #values: Values;
  readonly #happened = new Tally();
  readonly #events = {
    note: (who: string, what: string) => say(`${who.padEnd(9)} ${what}`),
    failed: (what: string) => this.#failed(what),
  };
  #passed = 0;
  #failures = 0;

  constructor(values: Values) {
    this.#values = values;
  }

  #failed(what: string): void {
    this.#failures++;
    say(`FAILED    ${what}`);
  }

  async run(): Promise<number> {
    initParquetInNode();
    const { clients, browsers, tabs, pause, minutes, round: longest } = this.#values;
    process.on("unhandledRejection", (error) =>
      this.#failed(`Unhandled: ${error instanceof Error ? error.stack : error}`),
    );
    const numbers = {
      clients: Number(clients),
      browsers: Number(browsers),
      tabs: Number(tabs),
      pauseMs: Number(pause),
    };
    const stage = await Stage.open(numbers, this.#events);
    say(
      `stage     ${stage.devices.length} devices; disk ${stage.disk.mounted ? "of its own" : "shared, and never full"}`,
    );
    try {
      const end = began + Number(minutes) * 60_000;
      for (let round = 1; round === 1 || Date.now() < end - 30_000; round++) {
        const stormMs = Math.max(20_000, (end - Date.now()) * 0.75);
        await this.#liveThrough(stage, round, Math.min(Number(longest) * 60_000, stormMs));
      }
    } catch (error) {
      this.#failed(`The test stumbles: ${error instanceof Error ? error.stack : error}`);
    } finally {
      await stage.close();
    }
    const written = stage.devices.reduce((sum, device) => sum + device.written.length, 0);
    const pages = stage.readers.reduce((sum, reader) => sum + reader.pages, 0);
    say(
      `rows written by apps ${written}, ${Math.round((written * 1000) / (Date.now() - began))} a second; pages read ${pages}`,
    );
    say(`in it: ${this.#happened}`);
    console.log(`${this.#passed} passed, ${this.#failures} failed`);
    return this.#failures === 0 ? 0 : 1;
  }

  async #liveThrough(stage: Stage, round: number, stormMs: number): Promise<void> {
    say(`round ${round}: ${Math.round(stormMs / 1000)} s of storm`);
    const readings: Reading[] = [];
    let over = false;
    const engine = this.#readAllAlong(stage, readings, () => over);
    for (const device of stage.devices) await device.ask("work", true).catch(() => undefined);
    const seed = Number(this.#values.seed) * 1000 + round;
    await new Storm(stage, seed, this.#happened, this.#events.note).rage(stormMs);
    over = true;
    await engine;
    say("round is over, and calms down");
    await calmDown(stage);
    const calm = Date.now();
    for await (const { name, wrong } of checks(stage, readings, calm)) {
      if (wrong === undefined) this.#passed++;
      else this.#failed(`${name}: ${wrong}`);
      say(`${wrong === undefined ? "ok" : "X "}        ${name}`);
    }
    const seconds = ((Date.now() - calm) / 1000).toFixed(1);
    say(`round ${round} was quiet and looked at after ${seconds} s; ${readings.length} readings of the lake`);
  }

  /** [L5] An engine reads the lake all the time; what it read is compared with the history later. */
  async #readAllAlong(stage: Stage, readings: Reading[], over: () => boolean): Promise<void> {
    for (let turn = 0; !over(); turn++) {
      await sleep(ENGINE_MS);
      const table = TABLES[turn % TABLES.length] as string;
      try {
        const reading = await readNow(lakeView(stage, new Oracle(), []), table);
        if (reading) readings.push(reading);
      } catch (error) {
        if (isLakeSyncError(error) && error.code === "NotFound")
          this.#failed(`[L5] ${table} cannot be read: ${error.message}`);
      }
    }
  }
}

/** The faults stop: roads are up, nobody is dead, R2 and the queues work, and nobody writes any more. */
async function calmDown(stage: Stage): Promise<void> {
  for (const { road } of stage.devices) road.heal();
  await stage.killGateway();
  await stage.startGateway(0);
  for (const device of stage.devices) await halt(device);
  await sleep(500);
}

/** A device stops writing; one that does not answer is killed, and starts anew. */
async function halt(device: Stage["devices"][number]): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await device.start();
      await device.ask("work", false);
      return;
    } catch (error) {
      say(`${device.name.padEnd(9)} does not stop: ${error}`);
      if (tries > 3) throw error;
      await device.kill();
    }
  }
}
