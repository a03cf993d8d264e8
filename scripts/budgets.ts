/**
 * `npm run budgets`: what the package may cost.
 *
 *   runtime dependencies   exactly the list below
 *   Worker bundle          < 3 MB gzipped, as wrangler would upload it
 *   client bundle          < 45 KB gzipped JavaScript, as an app's bundler makes it of `client/index.ts`
 *
 * A bundle whose source is not there yet is named as such.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { clientBundleBytes, workerBundleBytes } from "./bundles.ts";

/** Every runtime dependency is a decision: docs/decisions says why. */
const RUNTIME_DEPENDENCIES: Record<string, string> = {
  "@bufbuild/protobuf": "the wire format",
  "@noble/hashes": "SHA-256 of a delta, synchronous on every runtime",
  "@uwdata/flechette": "Arrow without generated code, which a Worker refuses",
  aws4fetch: "signs requests to S3 and what speaks like it",
  fzstd: "zstd decompression where workerd's own throws",
  hono: "routes of the Worker",
  hyparquet: "reads Parquet by ranges",
  jose: "JWT",
  mysql2: "speaks to MySQL and MariaDB, in Node and in workerd",
  "parquet-wasm": "writes Parquet",
  pg: "speaks to Postgres, in Node and in workerd",
  "wa-sqlite": "SQLite in the browser",
  zod: "JSON and configuration at the door",
};

/** The smallest limit that Cloudflare has set on an uploaded Worker. */
const WORKER_GZIP_MAX = 3 * 1024 * 1024;
/** About what the lighter sync engines ask an app to load (Instant 43 KB, Triplit 73); SQLite's wasm comes on top. */
const CLIENT_GZIP_MAX = 45 * 1024;

const root = join(import.meta.dirname, "..");
const failures: string[] = [];

function dependencies(): void {
  const actual = Object.keys(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies ?? {});
  const allowed = Object.keys(RUNTIME_DEPENDENCIES);
  const extra = actual.filter((name) => !allowed.includes(name));
  const gone = allowed.filter((name) => !actual.includes(name));
  console.log(`runtime dependencies: ${actual.length}`);
  for (const name of extra)
    failures.push(`${name} is a new runtime dependency: write a decision, then list it in scripts/budgets.ts`);
  for (const name of gone) failures.push(`${name} is listed in scripts/budgets.ts, but package.json does not have it`);
}

function spend(what: string, bytes: number, max: number): void {
  const kb = (n: number) => `${(n / 1024).toFixed(1)} KB`;
  console.log(`${what}: ${kb(bytes)} gzipped of ${kb(max)}`);
  if (bytes >= max) failures.push(`${what} is over its budget by ${kb(bytes - max)}`);
}

dependencies();
if (existsSync(join(root, "wrangler.toml"))) spend("Worker bundle", workerBundleBytes(), WORKER_GZIP_MAX);
else console.log("Worker bundle: there is no Worker yet");
if (existsSync(join(root, "client/index.ts")))
  spend("client bundle", (await clientBundleBytes()).codeBytes, CLIENT_GZIP_MAX);
else console.log("client bundle: there is no client yet");
for (const failure of failures) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;
