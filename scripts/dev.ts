/**
 * `npm run dev`: the gateway on http://localhost:8787, in workerd. Its secret is in `.dev.vars`, made on the first run; its
 * data stay in `.wrangler/`. Further arguments go to `wrangler dev`.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ensureSecret } from "./secret.ts";

ensureSecret();
console.log("The gateway will answer on http://localhost:8787. In another terminal, for a token:");
console.log("  npm run token -- --gw demo --sub alice --role admin --exp 1d");
console.log("docs/http.md goes on from there.\n");

const root = join(import.meta.dirname, "..");
const wrangler = join(root, "node_modules", "wrangler", "bin", "wrangler.js");
const keep = ["--persist-to", ".wrangler/state"];
// wrangler prints a line for each request itself.
const args = ["dev", "--port", "8787", ...keep, "--show-interactive-dev-session=false", "--var", "LOG_LEVEL:error"];
const child = spawn(process.execPath, [wrangler, ...args, ...process.argv.slice(2)], {
  cwd: root,
  stdio: "inherit",
  // Everything is local: nothing is asked of the network.
  env: { WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false", ...process.env },
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
child.once("exit", (code) => {
  process.exitCode = code ?? 0;
});
