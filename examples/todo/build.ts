/** `node examples/todo/build.ts`: the app into `examples/todo/dist`, which `wrangler deploy` sends along with the Worker. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const VITE = join(import.meta.dirname, "../../node_modules/vite/bin/vite.js");

/** @param outDir where the files go; emptied before */
export async function buildApp(outDir = join(import.meta.dirname, "dist")): Promise<void> {
  const config = join(import.meta.dirname, "vite.config.ts");
  const args = ["build", "--config", config, "--outDir", outDir, "--emptyOutDir", "--logLevel", "error"];
  // In a process of its own: the environment of a test runner would make it a build for development.
  await promisify(execFile)(process.execPath, [VITE, ...args], {
    cwd: import.meta.dirname,
    env: { ...process.env, NODE_ENV: "production" },
  });
}

if (import.meta.main) await buildApp();
