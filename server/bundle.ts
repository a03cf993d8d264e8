/** The gateway's Worker as wrangler bundles it: the same bytes that `wrangler deploy` would send. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { glob, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "..");
const SOURCES = [
  "{schemas,core,lake,adapters,durable-objects,worker}/**/*.{ts,js,wasm}",
  "wrangler.toml",
  "lakesync.config.{ts,js}",
  "package-lock.json",
];

export interface WorkerBundle {
  readonly root: string;
  /** ES modules and compiled wasm, the entry first. */
  readonly modules: readonly {
    readonly type: "ESModule" | "CompiledWasm";
    readonly path: string;
    readonly contents: string | Uint8Array<ArrayBuffer>;
  }[];
}

/**
 * Builds the bundle unless one of the very same sources is there already. Takes some seconds.
 * @param entry another Worker that embeds the gateway
 */
export async function workerBundle(entry?: string): Promise<WorkerBundle> {
  const root = join(ROOT, ".cache", "worker", await sourcesDigest(entry));
  const main = `${entry === undefined ? "index" : basename(entry, ".ts")}.js`;
  if (!existsSync(join(root, main))) await build(root, entry);
  const names = (await readdir(root)).filter((name) => name === main || name.endsWith(".wasm"));
  const modules = names.map(async (name) => {
    const path = join(root, name);
    if (name.endsWith(".wasm"))
      return { type: "CompiledWasm" as const, path, contents: new Uint8Array(await readFile(path)) };
    return { type: "ESModule" as const, path, contents: await readFile(path, "utf8") };
  });
  const entryFirst = (await Promise.all(modules)).sort(
    (a, b) => Number(b.path.endsWith(main)) - Number(a.path.endsWith(main)),
  );
  return { root, modules: entryFirst };
}

async function sourcesDigest(entry: string | undefined): Promise<string> {
  const hash = createHash("sha256");
  const files: string[] = [];
  for await (const file of glob(SOURCES, { cwd: ROOT })) files.push(file);
  for (const file of files.sort())
    hash
      .update(file)
      .update("\0")
      .update(await readFile(join(ROOT, file)));
  if (entry !== undefined) hash.update(entry).update(await readFile(entry));
  return hash.digest("hex").slice(0, 16);
}

async function build(root: string, entry: string | undefined): Promise<void> {
  const parts = `${root}.${process.pid}`;
  const wrangler = join(fileURLToPath(import.meta.resolve("wrangler/package.json")), "..", "bin", "wrangler.js");
  const options = { cwd: ROOT, env: { ...process.env, WRANGLER_SEND_METRICS: "false", CI: "true" } };
  const args = [wrangler, "deploy", ...(entry === undefined ? [] : [entry]), "--dry-run", "--outdir", parts];
  await promisify(execFile)(process.execPath, args, options);
  await rm(root, { recursive: true, force: true });
  await rename(parts, root);
}
