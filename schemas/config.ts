/**
 * `lakesync.config.ts`: which backends there are, and which tables go where. Names of bindings and of environment variables
 * stand in it, secrets never do.
 *
 *   leaf       iceberg | postgres | mysql | bigquery | adapter   made by whoever runs LakeSync: a Worker, a server
 *   composed   fan-out | lifecycle                               made of others, by name
 */
import { z } from "zod";
import { LakeSyncError } from "./errors.ts";
import { identifierSchema } from "./ids.ts";
import { err, ok, type Result } from "./result.ts";
import { sourceSchema } from "./source.ts";

const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,99}$/;
const name = z
  .string()
  .regex(NAME, { error: "A backend's name starts with a letter and has letters, digits, - and _." });
/** What a binding or a variable may be called; a secret that was pasted here is none. */
const variable = (what: string) =>
  z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,99}$/, {
    error: `Give the name of ${what}, such as DATABASE_URL; the secret itself stays in the environment.`,
  });

const sqlSource = {
  /** Name of a Hyperdrive binding, in a Worker. */
  binding: variable("a Hyperdrive binding").optional(),
  /** Name of the environment variable that holds the connection string, elsewhere. */
  env: variable("an environment variable").optional(),
};
const oneSource = ({ binding, env }: { binding?: string | undefined; env?: string | undefined }) =>
  (binding === undefined) !== (env === undefined);
const ONE_SOURCE =
  "Give either binding (a Hyperdrive binding, in a Worker) or env (a variable with the connection string).";

const backendSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("iceberg") }),
  z.strictObject({ type: z.literal("postgres"), ...sqlSource }).refine(oneSource, { error: ONE_SOURCE }),
  z.strictObject({ type: z.literal("mysql"), ...sqlSource }).refine(oneSource, { error: ONE_SOURCE }),
  z.strictObject({
    type: z.literal("bigquery"),
    /** Name of the environment variable that holds the service account's key, as JSON. */
    env: variable("an environment variable"),
    dataset: z.string().regex(/^[A-Za-z0-9_]{1,1024}$/, { error: "A dataset's name has letters, digits and _." }),
    location: z.string().min(1).optional(),
    /** Another address than Google's: of your own network, or of an emulator. */
    endpoint: z.url({ protocol: /^https?$/ }).optional(),
  }),
  /** The adapter object that `GatewayServer` was given. */
  z.strictObject({ type: z.literal("adapter") }),
  z.strictObject({ type: z.literal("fan-out"), primary: name, secondaries: z.array(name).min(1) }),
  z.strictObject({
    type: z.literal("lifecycle"),
    hot: z.strictObject({ backend: name, maxAgeMs: z.number().nonnegative() }),
    cold: z.strictObject({ backend: name }),
  }),
]);

const configSchema = z.strictObject({
  backends: z.record(name, backendSchema),
  /** Backend of each table that does not go to the default. */
  tables: z.record(identifierSchema("table name"), name).default({}),
  /** Backend of all other tables; without it, a table that nothing names is refused. */
  default: name.optional(),
  /** Tables and queries that clients pull by name. */
  sources: z.record(identifierSchema("source name"), sourceSchema).default({}),
});

export type LakeSyncConfig = z.input<typeof configSchema>;
export type ParsedConfig = z.output<typeof configSchema>;
export type BackendConfig = z.output<typeof backendSchema>;
/** A backend that is not made of others. */
export type LeafConfig = Exclude<BackendConfig, { type: "fan-out" | "lifecycle" }>;

/** Gives the configuration its type; it is checked when it is read. */
export const defineConfig = (config: LakeSyncConfig): LakeSyncConfig => config;

/** The names that a backend is made of. */
export const partsOfBackend = (backend: BackendConfig): string[] =>
  backend.type === "fan-out"
    ? [backend.primary, ...backend.secondaries]
    : backend.type === "lifecycle"
      ? [backend.hot.backend, backend.cold.backend]
      : [];

const misconfigured = (key: string, why: string) =>
  err(new LakeSyncError("Misconfigured", `lakesync.config.ts, ${key}: ${why}`, { key }));

/** Checks a configuration. The error is `Misconfigured`, and names the key and the remedy. */
export function parseConfig(input: unknown): Result<ParsedConfig, LakeSyncError> {
  const parsed = configSchema.safeParse(input);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const unknown = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
    const key =
      [...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])].map(String).join(".") || "the whole";
    return misconfigured(
      key,
      unknown === undefined ? (issue?.message ?? "not a configuration") : "There is no such key.",
    );
  }
  const config = parsed.data;
  const known = Object.keys(config.backends);
  const lacks = (key: string, backend: string) =>
    misconfigured(
      key,
      `There is no backend ${JSON.stringify(backend)}; ${known.length === 0 ? "declare it under backends" : `there are ${known.join(", ")}`}.`,
    );
  const isKnown = (backend: string) => Object.hasOwn(config.backends, backend);
  for (const [own, backend] of Object.entries(config.backends))
    for (const part of partsOfBackend(backend)) if (!isKnown(part)) return lacks(`backends.${own}`, part);
  for (const [table, backend] of Object.entries(config.tables))
    if (!isKnown(backend)) return lacks(`tables.${table}`, backend);
  if (config.default !== undefined && !isKnown(config.default)) return lacks("default", config.default);
  for (const [source, { backend }] of Object.entries(config.sources)) {
    if (!isKnown(backend)) return lacks(`sources.${source}.backend`, backend);
    const type = config.backends[backend]?.type;
    if (type !== "postgres" && type !== "mysql")
      return misconfigured(
        `sources.${source}.backend`,
        `Rows are pulled from Postgres and MySQL; ${backend} is ${type}.`,
      );
  }
  const ring = known.find((each) => reaches(config, each, each));
  if (ring !== undefined)
    return misconfigured(
      `backends.${ring}`,
      "It is made of itself, by way of its parts; a backend ends in one that is not made of others.",
    );
  for (const [own, backend] of Object.entries(config.backends)) {
    const problem = backend.type === "lifecycle" ? tierProblem(config, backend) : undefined;
    if (problem) return misconfigured(`backends.${own}`, problem);
  }
  return ok(config);
}

function tierProblem(config: ParsedConfig, { hot, cold }: BackendConfig & { type: "lifecycle" }): string | undefined {
  if (!letsGo(config, hot.backend))
    return `Its hot tier, ${hot.backend}, cannot let rows go; take Postgres or MySQL (or those composed) for hot, and a lake or warehouse for cold.`;
  const places = new Set(leavesOf(config, hot.backend).map(([, leaf]) => placeOf(leaf)));
  const both = leavesOf(config, cold.backend).find(([, leaf]) => places.has(placeOf(leaf)));
  return both && `${both[0]} would be in both tiers, and rows that move would be lost; give cold a place of its own.`;
}

/** Whether a backend can be, or be part of, a hot tier. */
function letsGo(config: ParsedConfig, name: string): boolean {
  const backend = config.backends[name] as BackendConfig;
  if (backend.type === "fan-out") return letsGo(config, backend.primary);
  if (backend.type === "lifecycle") return letsGo(config, backend.hot.backend) && letsGo(config, backend.cold.backend);
  return backend.type === "postgres" || backend.type === "mysql";
}

/** What tells a leaf's tables from those of another; in a gateway there is one lake. */
const placeOf = (leaf: LeafConfig): string =>
  leaf.type === "iceberg" || leaf.type === "adapter"
    ? leaf.type
    : leaf.type === "bigquery"
      ? `${leaf.env} ${leaf.dataset}`
      : (leaf.binding ?? `env ${leaf.env}`);

/** A backend and those that it is made of, as `within` goes through their adapters: the outermost first. */
export function withinBackend({ backends }: ParsedConfig, name: string): [name: string, BackendConfig][] {
  const backend = backends[name];
  if (!backend) return [];
  return [
    [name, backend],
    ...partsOfBackend(backend).flatMap((part) => withinBackend({ backends } as ParsedConfig, part)),
  ];
}

/** The backends that a backend's data ends in. */
export const leavesOf = (config: ParsedConfig, name: string): [name: string, LeafConfig][] =>
  withinBackend(config, name).filter((each): each is [string, LeafConfig] => partsOfBackend(each[1]).length === 0);

function reaches({ backends }: ParsedConfig, from: string, to: string, seen = new Set<string>()): boolean {
  if (seen.has(from)) return false;
  seen.add(from);
  const parts = partsOfBackend(backends[from] as BackendConfig);
  return parts.includes(to) || parts.some((part) => reaches({ backends } as ParsedConfig, part, to, seen));
}
