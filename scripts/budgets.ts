/**
 * `npm run budgets`: what the package may cost.
 *
 *   runtime dependencies   exactly the list below
 *   Worker bundle          < 3 MB gzipped, as wrangler would upload it
 *   client bundle          < 45 KB gzipped JavaScript, as an app's bundler makes it of `client/index.ts`
 *
 * A bundle whose source is not there yet is named as such.
 */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "vite";

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
  "parquet-wasm": "writes Parquet",
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

function workerBundle(): void {
  if (!existsSync(join(root, "wrangler.toml"))) {
    console.log("Worker bundle: there is no Worker yet");
    return;
  }
  const out = mkdtempSync(join(tmpdir(), "lakesync-worker-"));
  try {
    const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
    execFileSync(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", out], {
      cwd: root,
      env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const uploaded = globSync("**/*", { cwd: out, withFileTypes: true }).filter(
      (f) => f.isFile() && !/\.map$|^README/.test(f.name),
    );
    const bytes = uploaded.map((file) => gzipSync(readFileSync(join(file.parentPath, file.name))).byteLength);
    spend(
      "Worker bundle",
      bytes.reduce((sum, n) => sum + n, 0),
      WORKER_GZIP_MAX,
    );
  } finally {
    rmSync(out, { recursive: true });
  }
}

async function clientBundle(): Promise<void> {
  if (!existsSync(join(root, "client/index.ts"))) {
    console.log("client bundle: there is no client yet");
    return;
  }
  const built = await build({
    root,
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      minify: true,
      target: "es2022",
      // An app pays for what is loaded with the entry and for what is loaded later; both count.
      rolldownOptions: {
        input: join(root, "client/index.ts"),
        external: [...builtinModules.map((name) => `node:${name}`), "react"],
        preserveEntrySignatures: "strict",
      },
    },
  });
  const chunks = [built].flat().flatMap((result) => ("output" in result ? result.output : []));
  const code = chunks.flatMap((chunk) => {
    if (chunk.type === "chunk") return [chunk.code];
    return chunk.fileName.endsWith(".js") ? [chunk.source] : []; // a worker's bundle comes as an asset
  });
  spend(
    "client bundle",
    code.map((text) => gzipSync(text).byteLength).reduce((sum, n) => sum + n, 0),
    CLIENT_GZIP_MAX,
  );
}

dependencies();
workerBundle();
await clientBundle();
for (const failure of failures) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;
