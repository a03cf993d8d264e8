/**
 * A world: a gateway, its devices, an admin, the weather between them, and what an onlooker knows of it. `runPlan` lets a plan
 * happen, stops the faults, waits until all is quiet, and says what was wrong, if anything was.
 */
import type { SchemaSpec } from "../client/index.ts";
import type { MaintenanceReport, PullInput, PullPage } from "../core/index.ts";
import type { KindReport } from "../lake/index.ts";
import type { Claims, TableDefinition } from "../schemas/index.ts";
import { perform } from "./act.ts";
import { Admin } from "./admin.ts";
import { checkDevice, checkPage, Watch } from "./checks.ts";
import { signToken } from "./fakes/jose.ts";
import { takeOver } from "./kernel/guards.ts";
import { Random } from "./kernel/random.ts";
import { drained, Scheduler } from "./kernel/scheduler.ts";
import { Tally } from "./kernel/tally.ts";
import { Trace } from "./kernel/trace.ts";
import { listen } from "./observe.ts";
import { Oracle } from "./oracle.ts";
import { type Plan, RULES } from "./plan.ts";
import { whatIsMissing } from "./quiet.ts";
import { Device, type DeviceDeps, type DeviceSpec } from "./world/device.ts";
import { GATEWAY, Gateway } from "./world/gateway.ts";
import { FAIR, Network } from "./world/network.ts";
import { RequestResponsePair, socketGlobals } from "./world/sockets.ts";

/** Once the faults have stopped, everybody is current within this (C9). Milliseconds of virtual time. */
export const QUIET_MS = 15 * 60_000;
const LOOK_MS = 5000;

type Columns = Record<string, "string" | "integer">;

export interface Verdict {
  readonly seed: number;
  /** What was wrong; absent when nothing was. */
  readonly failure?: string;
  readonly trace: readonly string[];
  readonly digest: string;
  /** Virtual time from the end of the faults until all was quiet. Milliseconds. */
  readonly settledMs: number;
  /** How often what happened. */
  readonly tally: Tally;
}

/** Something that a plan has for a moment of its own time. */
interface Due {
  readonly at: number;
  readonly run: () => void;
}

export class World {
  readonly plan: Plan;
  readonly scheduler = new Scheduler();
  readonly trace = new Trace(this.scheduler);
  readonly tally = new Tally();
  readonly random: Random;
  readonly network: Network;
  readonly gateway: Gateway;
  readonly admin: Admin;
  readonly oracle = new Oracle();
  readonly watch = new Watch();
  readonly devices: Device[] = [];
  readonly teams: Record<string, readonly string[]>;
  readonly tables: Record<string, Columns> = {
    todos: { title: "string", body: "string", owner: "string", team: "string", rank: "integer" },
    notes: { title: "string", body: "string", owner: "string", team: "string", rank: "integer" },
  };
  readonly shards: Record<string, number>;
  failure: string | undefined;
  /** How far the gateway's clock is off. Milliseconds. */
  gatewaySkewMs = 0;
  /** How long everybody has slept. Milliseconds. */
  sleptMs = 0;
  #day: Due[] = [];

  constructor(plan: Plan) {
    this.plan = plan;
    this.random = new Random(plan.seed, "world");
    this.network = new Network(this.scheduler, new Random(plan.seed, "network"), this.tally, { ...FAIR });
    this.gateway = new Gateway(this.network, plan.flushAgeMs, this.trace.note);
    this.admin = new Admin(this.network, this.gateway, this.trace.note);
    this.teams = { ...plan.teams };
    this.shards = { ...plan.shards };
  }

  fail(what: string): void {
    if (this.failure !== undefined) return;
    this.failure = what;
    this.trace.note("FAILED", what);
  }

  claimsOf(user: string): Claims {
    return { sub: user, role: "client", gw: GATEWAY, teams: this.teams[user] ?? [] };
  }

  #deviceDeps(): DeviceDeps {
    return {
      network: this.network,
      gateway: this.gateway,
      random: this.random,
      note: this.trace.note,
      tokenFor: (user) => signToken({ ...this.claimsOf(user) }, Math.floor((Date.now() + this.plan.tokenMs) / 1000)),
      schema: () => this.schema(),
      fail: (what) => this.fail(what),
      asks: (device) => this.watch.asks(device, this.oracle.moment),
      renewed: (device) => this.watch.renewed(device),
      startsOver: (device) => this.watch.startsOver(device),
      progressed: (device) => this.#guarded(() => this.watch.progressed(this, device)),
      diverged: (device, tables) => this.fail(`[V2] ${device.name} holds other rows of ${tables} than the gateway`),
      synced: (device) => this.#guarded(() => checkDevice(this, device)),
    };
  }

  async #guarded(body: () => Promise<void>): Promise<void> {
    try {
      await body();
    } catch (error) {
      this.fail(`The onlooker stumbles: ${error instanceof Error ? error.stack : error}`);
    }
  }

  schema(): SchemaSpec {
    const spec = (columns: Columns) =>
      Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, { type }]));
    return Object.fromEntries(Object.entries(this.tables).map(([table, columns]) => [table, spec(columns)]));
  }

  definitionOf(table: string): TableDefinition {
    const columns = Object.entries(this.tables[table] ?? {});
    const ageMs = this.plan.windows?.[table];
    return {
      columns: columns.map(([name, type]) => ({ name, type, nullable: true })),
      shards: this.shards[table] ?? 0,
      ...(ageMs !== undefined && { hot: { ageMs } }),
    };
  }

  /** Column ids, as text, and their names: the gateway numbers columns in the order in which they came. */
  columnIds(table: string): Map<string, string> {
    return new Map(Object.keys(this.tables[table] ?? {}).map((name, at) => [String(at + 1), name]));
  }

  async addDevice(spec: DeviceSpec, original?: Device): Promise<void> {
    const device = await Device.make(spec, this.#deviceDeps(), original);
    this.devices.push(device);
    const started = device.start();
    if (!device.origin) await started; // tabs need time for it
  }

  async putRules(set: keyof typeof RULES): Promise<void> {
    this.oracle.answerRules(await this.admin.putRules(RULES[set]));
  }

  /** Ears for the shards. */
  served(input: PullInput, page: PullPage, shard: string): void {
    this.tally.add("pages");
    const wrong = checkPage(this.oracle, input, page);
    if (wrong) this.fail(`[PL4] shard ${shard} serves ${String(input.claims.sub)} ${wrong}`);
  }

  maintained(table: string, { ok, error, ...kinds }: MaintenanceReport): void {
    const done = new Tally();
    for (const kind of ["main", "changes"] as const) {
      const { jobs = 0, snapshotsExpired = 0, filesDeleted = 0 } = (kinds[kind] ?? {}) as Partial<KindReport>;
      done.add("compactions", jobs);
      done.add("snapshots expired", snapshotsExpired);
      done.add("files deleted", filesDeleted);
    }
    if (kinds.state === "written") done.add("checkpoints");
    done.add("runs merged", Number(kinds.merged ?? 0));
    done.add("files of runs removed", Number(kinds.removed ?? 0));
    this.tally.addAll(done);
    this.tally.add(ok ? "maintenance" : "failed maintenance");
    if (String(error).includes("digest")) this.fail(`[V1] ${table}: ${error}`);
    this.trace.note("lake", `${table} was maintained: ${ok ? done : error}`);
  }

  async #begin(): Promise<void> {
    const { plan } = this;
    const tables = Promise.all(Object.keys(this.tables).map((t) => this.admin.putTable(t, this.definitionOf(t))));
    const rules = this.putRules(plan.rules);
    await this.scheduler.runUntil(this.scheduler.now + 60_000, () => this.admin.waiting === 0);
    if (this.admin.waiting > 0) throw new Error("The gateway could not be set up.");
    await Promise.all([tables, rules]);
    for (const spec of plan.devices) await this.addDevice(spec);
  }

  /** Time of the plan, which stands still while everybody sleeps. Milliseconds after its start. */
  onDay(at: number, run: () => void): void {
    this.#day.push({ at, run });
  }

  async #liveThrough(): Promise<void> {
    const { scheduler, plan } = this;
    const begun = scheduler.now;
    const over = () => this.failure !== undefined;
    while (!over()) {
      const next = this.#day.reduce<Due | undefined>((a, b) => (a && a.at <= b.at ? a : b), undefined);
      if (!next || next.at > plan.endMs) break;
      this.#day.splice(this.#day.indexOf(next), 1);
      await scheduler.runUntil(begun + this.sleptMs + next.at, over);
      if (!over()) next.run();
    }
    await scheduler.runUntil(begun + this.sleptMs + plan.endMs, over);
  }

  async run(): Promise<number> {
    const { plan } = this;
    await this.#begin();
    this.network.weather = { ...FAIR, ...plan.weather };
    for (const action of plan.actions)
      this.onDay(action.at, () => {
        this.tally.add(action.kind);
        void this.#guarded(() => perform(this, action));
      });
    await this.#liveThrough();
    // Pokes are hints, and may get lost in fine weather as well.
    this.network.weather = { ...FAIR, pokeLost: plan.weather.pokeLost ?? 0 };
    for (const device of this.devices) {
      device.link.heal();
      if (device.apps.length === 0) void device.open();
    }
    this.trace.note("weather", "clears up");
    return this.#untilQuiet();
  }

  async #untilQuiet(): Promise<number> {
    const { scheduler } = this;
    const calm = scheduler.now;
    let missing: string | undefined = "nobody has looked";
    while (!this.failure && missing && scheduler.now < calm + QUIET_MS) {
      for (const { origin, apps } of this.devices) if (origin) for (const app of apps) app.ask();
      await scheduler.runUntil(scheduler.now + LOOK_MS, () => this.failure !== undefined);
      missing = await whatIsMissing(this);
    }
    if (missing && !this.failure) this.fail(`[C9] after ${QUIET_MS / 60_000} minutes of calm: ${missing}`);
    return scheduler.now - calm;
  }
}

export async function runPlan(plan: Plan): Promise<Verdict> {
  const world = new World(plan);
  const { scheduler, trace } = world;
  const uncaught = (error: unknown) => world.fail(`Uncaught: ${error instanceof Error ? error.stack : String(error)}`);
  const giveBack = takeOver({
    scheduler,
    random: new Random(plan.seed, "host"),
    wallNow: () => scheduler.now + world.gatewaySkewMs,
    print: (line) => trace.note("console", line.slice(0, 300)),
    globals: { ...socketGlobals(world.network), WebSocketRequestResponsePair: RequestResponsePair },
  });
  process.on("uncaughtException", uncaught).on("unhandledRejection", uncaught);
  listen({
    accepted: (deltas, shard) => {
      for (const delta of deltas) world.tally.add(world.oracle.accept(delta) ? "accepted" : "accepted again");
      if (deltas.length > 0)
        trace.note(
          shard,
          `accepts ${deltas
            .map((d) => `${d.op} ${d.rowId}`)
            .join(", ")
            .slice(0, 160)}`,
        );
    },
    refused: (deltas) => {
      for (const delta of deltas) world.oracle.refuse(delta);
    },
    served: (input, page, shard) => world.served(input, page, shard),
    maintained: (table, report) => world.maintained(table, report),
    rulesStored: (version, rules) => world.oracle.storeRules(version, rules),
  });
  let settledMs = 0;
  try {
    settledMs = await world.run();
    for (const device of world.devices) device.end();
    await drained();
  } catch (error) {
    uncaught(error);
  } finally {
    listen(undefined);
    process.off("uncaughtException", uncaught).off("unhandledRejection", uncaught);
    giveBack();
  }
  const { failure } = world;
  for (const { disk } of world.devices) await disk.close();
  for (const host of world.gateway.hosts) host.sql.close();
  return {
    seed: plan.seed,
    trace: trace.lines,
    digest: trace.digest(),
    settledMs,
    tally: world.tally,
    ...(failure && { failure }),
  };
}
