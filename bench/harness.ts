/**
 * The world a benchmark runs in: one workerd that holds the real Worker, bundled as it is deployed, and beside it the bare
 * yardstick, both on loopback and persisted to a folder that is gone afterwards.
 */
import { execFileSync } from "node:child_process";
import { globSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";

export const ROOT = join(import.meta.dirname, "..");
/** Of HS256 tokens; the gateway of a benchmark lives as long as the benchmark. */
export const SECRET = "a secret for benchmarks only, of 32 bytes and more";

type Modules = { type: "ESModule" | "CompiledWasm"; path: string }[];

const COMPATIBILITY = { compatibilityDate: "2026-10-01", compatibilityFlags: ["nodejs_compat"] };

export interface WorldOptions {
  /** Whether flush messages are consumed; otherwise they vanish and the log grows. */
  readonly flush?: boolean;
  /** Cap of V8's heap in each isolate, MB. */
  readonly heapMb?: number;
}

export interface World {
  readonly gateway: URL;
  readonly bare: URL;
  /** Where workerd keeps everything. */
  readonly folder: string;
  stop(): Promise<void>;
}

/** Bundles a Worker exactly as `wrangler deploy` uploads it. @returns its modules, the main one first */
function bundle(config: string, folder: string): Modules {
  const wrangler = join(ROOT, "node_modules/wrangler/bin/wrangler.js");
  execFileSync(process.execPath, [wrangler, "deploy", "--dry-run", "--config", config, "--outdir", folder], {
    cwd: ROOT,
    env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [main = ""] = globSync("*.js", { cwd: folder });
  const wasm = globSync("*.wasm", { cwd: folder }).map((name) => ({
    type: "CompiledWasm" as const,
    path: join(folder, name),
  }));
  return [{ type: "ESModule", path: join(folder, main) }, ...wasm];
}

const sqlite = (className: string) => ({ className, useSQLite: true });

export async function startWorld({ flush = false, heapMb }: WorldOptions = {}): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), "lakesync-bench-"));
  const [gatewayFolder, bareFolder] = [join(folder, "gateway"), join(folder, "bare")];
  if (heapMb) process.env.MINIFLARE_WORKERD_V8_FLAGS = `--max-heap-size=${heapMb}`;
  else delete process.env.MINIFLARE_WORKERD_V8_FLAGS;
  const direct = [{ host: "127.0.0.1", port: 0 }];
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      telemetry: { enabled: false },
      resourcePersistencePath: join(folder, "state"),
      workers: [
        {
          name: "gateway",
          ...COMPATIBILITY,
          modulesRoot: gatewayFolder,
          modules: bundle(join(ROOT, "wrangler.toml"), gatewayFolder),
          bindings: { JWT_SECRET: SECRET, LOG_LEVEL: "error", LAKE_LOCATION: "s3://lakesync-lake" },
          durableObjects: {
            TENANT: sqlite("Tenant"),
            SHARD: sqlite("Shard"),
            HUB: sqlite("Hub"),
            CATALOGUE: sqlite("Catalogue"),
          },
          r2Buckets: { LAKE: "lakesync-lake" },
          queueProducers: { FLUSH_QUEUE: "lakesync-flush", MAINTENANCE_QUEUE: "lakesync-maintenance" },
          queueConsumers: flush ? { "lakesync-flush": { maxBatchSize: 10, maxBatchTimeout: 1, maxRetries: 3 } } : {},
          unsafeDirectSockets: direct,
        },
        {
          name: "bare",
          ...COMPATIBILITY,
          modulesRoot: bareFolder,
          modules: bundle(join(ROOT, "bench/yardstick/wrangler.toml"), bareFolder),
          bindings: { JWT_SECRET: SECRET },
          durableObjects: { BARE: sqlite("Bare") },
          r2Buckets: { LAKE: "lakesync-lake" },
          unsafeDirectSockets: direct,
        },
      ],
    }),
  );
  await miniflare.ready;
  return {
    gateway: await miniflare.unsafeGetDirectURL("gateway"),
    bare: await miniflare.unsafeGetDirectURL("bare"),
    folder,
    async stop() {
      await miniflare.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
