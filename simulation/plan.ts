/**
 * What happens in a world, drawn from its seed: who is there, what they do and when, what goes wrong. A plan is plain data, so
 * that a failing one can be made smaller and kept.
 */
import type { SyncRules } from "../schemas/index.ts";
import type { Op } from "./edits.ts";
import { Random } from "./kernel/random.ts";
import type { DeviceSpec } from "./world/device.ts";
import type { Weather, WeatherKind } from "./world/network.ts";

export type Action = { readonly at: number } & (
  | { readonly kind: "edit"; readonly device: number; readonly ops: readonly Op[]; readonly tab?: number }
  | TabAction
  | { readonly kind: "rules"; readonly set: keyof typeof RULES }
  | { readonly kind: "claims"; readonly user: string; readonly teams: readonly string[] }
  | { readonly kind: "column"; readonly table: string; readonly column: string }
  | { readonly kind: "shards"; readonly table: string; readonly shards: number }
  | { readonly kind: "cut" | "silent"; readonly device: number; readonly ms: number }
  | { readonly kind: "kill" | "wake" | "copy"; readonly device: number }
  | { readonly kind: "crash" | "evict"; readonly what: string }
  | { readonly kind: "clock"; readonly device: number; readonly ms: number }
  | { readonly kind: "gatewayClock" | "leap"; readonly ms: number }
  | { readonly kind: "flush" }
  /** A shard that has flushed everything loses its storage. */
  | { readonly kind: "lose"; readonly table: string; readonly nth: number }
  | { readonly kind: "maintain"; readonly table: string }
  /** An engine takes a table's snapshot and reads it a while later. */
  | { readonly kind: "query"; readonly table: string; readonly ms: number }
);

/** A tab is opened, closed with its app's knowledge or without, or dies and is there again soon. */
export interface TabAction {
  readonly kind: "tab";
  readonly device: number;
  readonly how: "open" | "close" | "vanish" | "kill";
  readonly tab: number | "leader";
}

export interface Plan {
  readonly seed: number;
  readonly devices: readonly DeviceSpec[];
  readonly teams: Readonly<Record<string, readonly string[]>>;
  readonly shards: Readonly<Record<string, number>>;
  /** Hot windows of tables, milliseconds. */
  readonly windows?: Readonly<Record<string, number>>;
  readonly rules: keyof typeof RULES;
  readonly tokenMs: number;
  readonly flushAgeMs: number;
  readonly weather: Readonly<Partial<Weather>>;
  readonly actions: readonly Action[];
  /** When the faults stop. Milliseconds after the start. */
  readonly endMs: number;
}

const TABLES = ["todos", "notes"];
/** A query is over before the grace period of files is (scaled.ts). */
const QUERY_MS = 50_000;
const USERS = ["alice", "bob", "carol"];
const TEAMS = ["red", "blue"];

const own = { name: "own", tables: TABLES, filters: [{ column: "owner", op: "eq" as const, value: "jwt:sub" }] };

export const RULES = {
  own: { buckets: [own] },
  team: {
    buckets: [own, { name: "team", tables: ["todos"], filters: [{ column: "team", op: "in", value: "jwt:teams" }] }],
  },
  ranked: {
    buckets: [
      { ...own, write: [] },
      { name: "top", tables: TABLES, filters: [{ column: "rank", op: "gte", value: 3 }], write: [] },
    ],
  },
  open: { buckets: [{ name: "all", tables: TABLES, filters: [], write: [] }] },
  none: { buckets: [] },
} as const satisfies Record<string, SyncRules>;

/** Faults and how likely each may become at worst. */
const STORMS: readonly (readonly [WeatherKind, number])[] = [
  ["rpcLost", 0.04],
  ["rpcAnswerLost", 0.04],
  ["calleeDies", 0.02],
  ["callerDies", 0.01],
  ["requestLost", 0.25],
  ["answerLost", 0.25],
  ["requestTwice", 0.3],
  ["socketDies", 0.05],
  ["storeFails", 0.08],
  ["storeSilent", 0.06],
  ["storeTwice", 0.08],
  ["queueLost", 0.5],
  ["queueTwice", 0.5],
  ["consumerDies", 0.06],
  ["deviceDies", 0.004],
  ["slow", 0.03],
];

class Drawing {
  readonly #random: Random;
  readonly #devices: readonly DeviceSpec[];
  /** Devices that were copied, in the order of their copies. */
  readonly #copies: number[] = [];
  #texts = 0;
  #fresh = 0;
  #columns = 0;

  constructor(random: Random, devices: readonly DeviceSpec[]) {
    this.#random = random;
    this.#devices = devices;
  }

  #text(): string {
    return `v${++this.#texts}`;
  }

  #rowId(): string {
    return this.#random.chance(0.75) ? `hot${this.#random.int(0, 5)}` : `row${++this.#fresh}`;
  }

  #values(device: number, whole: boolean): Op["values"] {
    const random = this.#random;
    const values: Record<string, string | number | null> = {};
    const texts = ["title", "body", ...(this.#columns > 0 ? [`extra${random.int(1, this.#columns)}`] : [])];
    values[random.pick(texts)] = this.#text();
    if (random.chance(0.3)) values[random.pick(texts)] = this.#text();
    if (random.chance(0.08)) values[random.pick(["body", "rank", "team"])] = null;
    if (random.chance(0.4)) values.rank = random.int(0, 5);
    if (random.chance(whole ? 0.6 : 0.15)) values.team = random.pick(TEAMS);
    const mine = random.chance(0.7) ? (this.#devices[device]?.user ?? "alice") : random.pick(USERS);
    if (random.chance(whole ? 0.9 : 0.15)) values.owner = mine;
    return values;
  }

  #op(device: number): Op {
    const random = this.#random;
    const table = random.chance(0.75) ? "todos" : "notes";
    const kinds: Op["op"][] = ["upsert", "upsert", "upsert", "update", "update", "insert", "delete", "delete"];
    const op = random.chance(0.12) ? random.pick(["bulk", "sql", "replace", "rename"] as const) : random.pick(kinds);
    return { op, table, rowId: this.#rowId(), values: this.#values(device, op !== "update" && op !== "sql") };
  }

  #edit(at: number): Action {
    const device = this.#random.int(0, this.#devices.length + this.#copies.length - 1);
    const ops = Array.from({ length: this.#random.chance(0.25) ? this.#random.int(2, 4) : 1 }, () => this.#op(device));
    return { at, kind: "edit", device, ops };
  }

  /** At times two devices do the same to the same row at the same moment, or one is away while everybody else sleeps. */
  actions(at: number): Action[] {
    const action = this.#action(at);
    if (action.kind === "leap") return this.#away(action);
    if (action.kind !== "edit" || !this.#random.chance(0.1)) return [action];
    const copy = this.#copies.indexOf(action.device);
    const device = copy < 0 ? (action.device + 1) % this.#devices.length : this.#devices.length + copy;
    const again = (values: Op["values"]) =>
      Object.fromEntries(
        Object.entries(values).map(([name, value]) => [name, /^v\d/.test(String(value)) ? this.#text() : value]),
      );
    return [action, { ...action, device, ops: action.ops.map((op) => ({ ...op, values: again(op.values) })) }];
  }

  /** Rules change, and in the next moments everybody writes and looks. */
  tightening(at: number): Action[] {
    const edits = [30, 60, 90, 140, 190, 240].map((after) => this.#edit(at + after));
    const looks = this.#devices.flatMap((_, device): Action[] =>
      [120, 220].map((after) => ({ at: at + after, kind: "wake", device })),
    );
    return [{ at: at - 8000, kind: "rules", set: "open" }, { at, kind: "rules", set: "own" }, ...edits, ...looks];
  }

  #copy(at: number, device: number): Action {
    this.#copies.push(device);
    return { at, kind: "copy", device };
  }

  /** A device is cut off, the others go on, long time passes, more happens, and only then it comes back. */
  #away(leap: Action): Action[] {
    const { at } = leap;
    const device = this.#random.int(0, this.#devices.length - 1);
    const edits = [1000, 1500, 9000, 9500].map((after) => this.#edit(at + after));
    const others = edits.filter((edit) => edit.kind === "edit" && edit.device !== device);
    return [{ at, kind: "cut", device, ms: 15_000 }, ...others, { ...leap, at: at + 8000 }];
  }

  #action(at: number): Action {
    const random = this.#random;
    if (random.chance(0.66)) return this.#edit(at);
    const device = random.int(0, this.#devices.length - 1);
    const ms = random.int(500, 60_000);
    const what = random.pick(["tenant", "shard", "shard", "hub", "catalogue", "workers"]);
    const others: readonly (readonly [weight: number, make: () => Action])[] = [
      [4, () => ({ at, kind: random.chance(0.6) ? "cut" : "silent", device, ms })],
      [3, () => ({ at, kind: "kill", device })],
      [4, () => ({ at, kind: random.chance(0.6) ? "crash" : "evict", what })],
      [2, () => ({ at, kind: "rules", set: random.pick(Object.keys(RULES) as (keyof typeof RULES)[]) })],
      [1, () => ({ at, kind: "claims", user: random.pick(USERS), teams: TEAMS.filter(() => random.chance(0.5)) })],
      [2, () => ({ at, kind: "shards", table: random.pick(TABLES), shards: random.int(0, 3) })],
      [1, () => ({ at, kind: "column", table: random.pick(TABLES), column: `extra${++this.#columns}` })],
      [1.5, () => ({ at, kind: "clock", device, ms: random.pick([-3_600_000, -5000, 3000, 90_000, 3_600_000]) })],
      [0.5, () => ({ at, kind: "gatewayClock", ms: random.pick([-2000, -400, 2000, 30_000]) })],
      [1, () => ({ at, kind: "leap", ms: random.pick([3_600_000, 24 * 3_600_000, 9 * 24 * 3_600_000]) })],
      [0.7, () => this.#copy(at, device)],
      [0.7, () => ({ at, kind: "wake", device })],
      [1.5, () => ({ at, kind: "flush" })],
      [1.5, () => ({ at, kind: "maintain", table: random.pick(TABLES) })],
      [1.5, () => ({ at, kind: "query", table: random.pick(TABLES), ms: random.int(0, QUERY_MS) })],
    ];
    let left = random.next() * others.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, make] of others) {
      left -= weight;
      if (left < 0) return make();
    }
    return this.#edit(at);
  }
}

/** Runs of upkeep at once, and queries all along. */
function busyLake(random: Random, endMs: number): Action[] {
  return Array.from({ length: random.int(6, 14) }, (): Action[] => {
    const [at, table] = [random.int(0, endMs), random.pick(TABLES)];
    const maintain = { at, kind: "maintain" as const, table };
    return random.chance(0.5)
      ? [{ at, kind: "query", table, ms: random.int(0, QUERY_MS) }]
      : [maintain, maintain, { at, kind: "flush" }];
  }).flat();
}

/** Each with a flush before it, so that there may be a moment at which nothing waits. */
function losses(random: Random, endMs: number): Action[] {
  return Array.from({ length: random.int(1, 3) }, (): Action[] => {
    const at = random.int(0, endMs);
    const lose = { kind: "lose" as const, table: random.pick(TABLES), nth: random.int(0, 3) };
    return [{ at, kind: "flush" }, ...[4000, 7000, 11_000].map((after) => ({ at: at + after, ...lose }))];
  }).flat();
}

/** Devices become browsers, and what is written comes from any of their tabs, which come and go meanwhile. */
function withTabs(plan: Plan): Plan {
  const random = new Random(plan.seed, "tabs");
  if (!random.chance(0.3)) return plan;
  const browser = () => ({ tabs: random.int(1, 3), kept: random.pick(["opfs", "idb"] as const) });
  const devices = plan.devices.map((spec) => (random.chance(0.6) ? { ...spec, ...browser() } : spec));
  const browsers = devices.flatMap(({ tabs }, device) => (tabs ? [device] : []));
  const actions = plan.actions.map((action) =>
    action.kind === "edit" ? { ...action, tab: random.int(0, 11) } : action,
  );
  const writes = actions.filter((action) => action.kind === "edit" && browsers.includes(action.device));
  const stirred = Array.from({ length: browsers.length > 0 ? random.int(3, 16) : 0 }, (): Action => {
    const how = random.pick(["open", "open", "close", "vanish", "kill", "kill"] as const);
    const tab = random.chance(0.5) ? "leader" : random.int(0, 3);
    const write = random.chance(0.6) && how !== "open" ? random.pick(writes) : undefined;
    // In the midst of another tab's transaction.
    if (write?.kind === "edit")
      return {
        at: write.at + random.int(1, 60),
        kind: "tab",
        device: write.device,
        how,
        tab: random.chance(0.6) ? "leader" : (write.tab ?? 0),
      };
    return { at: random.int(0, plan.endMs), kind: "tab", device: random.pick(browsers), how, tab };
  });
  const torn = random.chance(0.3) ? { workerTorn: Number((random.next() * 0.01).toFixed(4)) } : {};
  return { ...plan, devices, weather: { ...plan.weather, ...torn }, actions: [...actions, ...stirred] };
}

/** Where tables have windows, half of the devices ask for what has left them. */
function withOlder(plan: Plan): Plan {
  const random = new Random(plan.seed, "older");
  if (!plan.windows) return plan;
  return { ...plan, devices: plan.devices.map((spec) => (random.chance(0.5) ? { ...spec, older: true } : spec)) };
}

/** What bugs have needed that seldom comes together by itself. */
function withRareThings(plan: Plan): Plan {
  const random = new Random(plan.seed, "rare");
  const { endMs } = plan;
  const mortal = random.chance(0.15) ? { storageDies: Number((random.next() * 0.1).toFixed(4)) } : {};
  const ghosts = random.chance(0.25) && (plan.rules === "own" || plan.rules === "team");
  const home = random.chance(0.08) && !plan.windows; // a table with a hot window has shards of its own
  return {
    ...plan,
    weather: { ...plan.weather, ...mortal },
    ...(home && { shards: { todos: random.int(1, 3), notes: 0 }, flushAgeMs: random.int(12_000, 30_000) }),
    actions: [
      ...plan.actions,
      ...(ghosts ? [1, 2, 3].flatMap((n) => ghost(random, plan, n)) : []),
      ...(home ? homecoming(random, random.int(0, plan.devices.length - 1), random.int(6000, endMs - 6000)) : []),
    ],
  };
}

/** All devices are sent pages unasked, and pokes come late or never, while what they may see changes again and again. */
function withFollowers(plan: Plan): Plan {
  const random = new Random(plan.seed, "followers");
  if (!random.chance(0.08)) return plan;
  const devices = plan.devices.map((spec): DeviceSpec => ({ ...spec, transport: "socket" }));
  const byClaims = random.chance(0.5);
  let texts = 0;
  const edit = (at: number): Action => {
    const values = {
      title: `v97${++texts}`,
      owner: random.pick(USERS),
      team: random.pick(TEAMS),
      rank: random.int(0, 5),
    };
    const ops: Op[] = [{ op: "upsert", table: "todos", rowId: `hot${random.int(0, 5)}`, values }];
    return { at, kind: "edit", device: random.int(0, devices.length - 1), ops };
  };
  const often = (from: number, until: number, everyMs: number) =>
    Array.from({ length: (until - from) / everyMs }, (_, n) => edit(from + n * everyMs + random.int(0, everyMs)));
  const claims = (at: number) =>
    USERS.map((user): Action => ({ at, kind: "claims", user, teams: TEAMS.filter(() => random.chance(0.5)) }));
  const rules = (at: number): Action[] => [
    { at, kind: "rules", set: "open" },
    { at: at + 2500, kind: "rules", set: random.pick(["own", "team", "ranked"] as const) },
    ...often(at + 2000, at + 3500, 60),
  ];
  return {
    ...plan,
    devices,
    weather: { ...plan.weather, pokeLost: 0.8 },
    // Tokens are renewed over open sockets a minute before they expire.
    ...(byClaims && { rules: "team" as const, tokenMs: 75_000 }),
    actions: [
      ...plan.actions,
      ...(byClaims
        ? [...[7000, 40_000, 72_000].flatMap(claims), ...often(9000, plan.endMs, 900)]
        : [4000, 9000, 14_000, 19_000].flatMap(rules)),
    ],
    endMs: Math.max(plan.endMs, 40_000),
  };
}

/** An insert is refused, and what is written to its row meanwhile is not. */
function ghost(random: Random, { devices, endMs }: Plan, n: number): Action[] {
  const device = random.int(0, devices.length - 1);
  const op = (kind: Op["op"], values: Op["values"]): Op => ({ op: kind, table: "todos", rowId: `ghost${n}`, values });
  const at = random.int(0, endMs - 1000);
  const edit = { kind: "edit" as const, device };
  const owner = devices[device]?.user ?? "alice";
  return [
    { ...edit, at, ops: [op("insert", { title: `v99${n}0` })] },
    { ...edit, at: at + random.int(0, 500), ops: [op("update", { title: `v99${n}1`, owner })] },
  ];
}

/** A table moves into the shard of another one, whose log holds something, and its rows change before that is flushed. */
function homecoming(random: Random, device: number, at: number): Action[] {
  let texts = 0;
  const edit = (after: number, table: string): Action => {
    const values = { title: `v98${++texts}`, owner: random.pick(USERS) };
    return {
      at: at + after,
      kind: "edit",
      device,
      ops: [{ op: "upsert", table, rowId: `hot${random.int(0, 3)}`, values }],
    };
  };
  const rows = [-5000, -4800, -4600, -4400].map((before) => edit(before, "todos"));
  const others = [-300, -200, 300, 600].map((after) => edit(after, "notes"));
  const after = Array.from({ length: 10 }, (_, n) => edit(700 + n * 500, "todos"));
  return [
    ...rows,
    { at: at - 3500, kind: "flush" },
    ...others,
    { at, kind: "shards", table: "todos", shards: 0 },
    ...after,
  ];
}

/** In a share of the worlds a table's rows leave their shards after some seconds. */
function windowsOf(random: Random): Record<string, number> {
  if (!random.chance(0.25)) return {};
  const tables = random.chance(0.3) ? TABLES : [random.pick(TABLES)];
  return Object.fromEntries(tables.map((table) => [table, random.int(1000, 25_000)]));
}

/** A table with a window has shards of its own. */
const withRoom = (shards: Record<string, number>, windows: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(shards).map(([table, count]) => [table, Object.hasOwn(windows, table) ? Math.max(1, count) : count]),
  );

export function planOf(seed: number): Plan {
  return withOlder(withTabs(withFollowers(withRareThings(planWithoutTabs(seed)))));
}

function planWithoutTabs(seed: number): Plan {
  const random = new Random(seed, "plan");
  const calm = random.chance(0.1);
  const devices = Array.from({ length: random.int(2, 4) }, (_, at): DeviceSpec => {
    const skewed = random.chance(0.25);
    return {
      name: `device${at}`,
      user: random.pick(USERS),
      transport: random.chance(0.5) ? "http" : "socket",
      skewMs: skewed ? random.pick([-7_200_000, -4000, 2000, 45_000, 7_200_000]) : 0,
      batchDeltas: random.pick([1, 3, 1000]),
      pageBytes: random.pick([60, 300, 0]),
    };
  });
  const weather: Partial<Weather> = {};
  if (!calm)
    for (const [kind, worst] of STORMS)
      if (random.chance(0.5)) weather[kind] = Number((random.next() * worst).toFixed(4));
  // Devices that trust in pokes, which get lost, and in sockets, which nothing closes.
  const pokes = new Random(seed, "pokes");
  const trusting = pokes.chance(0.2);
  if (trusting) weather.pokeLost = Number((0.2 + pokes.next() * 0.6).toFixed(4));
  const endMs = random.int(20_000, 120_000);
  const drawing = new Drawing(random, devices);
  const upkeep = new Random(seed, "upkeep");
  const loss = new Random(seed, "loss");
  const windows = windowsOf(new Random(seed, "windows"));
  const times = Array.from({ length: random.int(10, 60) }, () => random.int(0, endMs)).sort((a, b) => a - b);
  return {
    seed,
    devices,
    teams: Object.fromEntries(USERS.map((user) => [user, TEAMS.filter(() => random.chance(0.5))])),
    shards: withRoom({ todos: random.int(0, 3), notes: random.pick([0, 0, 1, 2]) }, windows),
    ...(Object.keys(windows).length > 0 && { windows }),
    rules: random.pick(["own", "team", "ranked", "open", "open"] as const),
    tokenMs: random.int(70_000, 200_000) * (trusting ? 60 : 1),
    flushAgeMs: random.int(2_000, 30_000),
    weather,
    // What a token says holds until it expires: claims change only where tokens do.
    actions: [
      ...times
        .flatMap((at) => drawing.actions(at))
        .filter(({ kind }) => !trusting || kind !== "claims")
        // A table with a window stays where it is.
        .filter((action) => action.kind !== "shards" || !Object.hasOwn(windows, action.table)),
      ...(upkeep.chance(0.25) ? busyLake(upkeep, endMs) : []),
      ...(upkeep.chance(0.15) ? drawing.tightening(upkeep.int(8000, endMs - 1000)) : []),
      ...(loss.chance(0.3) ? losses(loss, endMs) : []),
    ],
    endMs,
  };
}
