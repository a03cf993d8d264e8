/**
 * `npm run build`: the package as it is published, in dist/:
 *
 *   dist/FLOOR/...   compiled modules and their types, for bundlers and Node
 *   dist/browser/    the client with all that it needs, for a page without a bundler
 */
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundleClient } from "./bundles.ts";

const ROOT = join(import.meta.dirname, "..");

rmSync(join(ROOT, "dist"), { recursive: true, force: true });
execFileSync("tsc", ["-p", "tsconfig.build.json"], { cwd: ROOT, stdio: "inherit" });
cpSync(join(ROOT, "schemas", "gen"), join(ROOT, "dist", "schemas", "gen"), { recursive: true });
// The compiler renames what is imported, but not what is started by its address.
const starter = join(ROOT, "dist", "client", "db", "wasm", "remote.js");
writeFileSync(starter, readFileSync(starter, "utf8").replace('"./worker.ts"', '"./worker.js"'));
await bundleClient(join(ROOT, "dist", "browser"));
