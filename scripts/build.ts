/**
 * `npm run build`: the package as it is published, in dist/:
 *
 *   dist/FLOOR/...   compiled modules and their types, for bundlers and Node
 *   dist/browser/    the client with all that it needs, for a page without a bundler
 *   dist/wrangler.toml, dist/site/   what GatewayServer makes its Worker by
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundleClient } from "./bundles.ts";

const ROOT = join(import.meta.dirname, "..");

rmSync(join(ROOT, "dist"), { recursive: true, force: true });
execFileSync("tsc", ["-p", "tsconfig.build.json"], { cwd: ROOT, stdio: "inherit" });
cpSync(join(ROOT, "schemas", "gen"), join(ROOT, "dist", "schemas", "gen"), { recursive: true });
// The compiler renames what is imported, but not what is started by its address.
const starter = join(ROOT, "dist", "client", "db", "wasm", "remote.js");
writeFileSync(starter, readFileSync(starter, "utf8").replace('"./worker.ts"', '"./worker.js"'));
// GatewayServer bundles the compiled Worker, and has no site of its own to serve.
const wrangler = readFileSync(join(ROOT, "wrangler.toml"), "utf8");
writeFileSync(
  join(ROOT, "dist", "wrangler.toml"),
  wrangler.replace('"worker/index.ts"', '"worker/index.js"').replace('"examples/todo/dist"', '"site"'),
);
mkdirSync(join(ROOT, "dist", "site"));
writeFileSync(join(ROOT, "dist", "site", ".assetsignore"), "");
await bundleClient(join(ROOT, "dist", "browser"));
