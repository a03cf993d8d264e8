/** The page into a folder of static files. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const VITE = join(import.meta.dirname, "../../node_modules/vite/bin/vite.js");

/** @param outDir emptied before */
export async function buildPage(outDir: string): Promise<void> {
  const args = ["build", "--outDir", outDir, "--emptyOutDir", "--logLevel", "error"];
  // In a process of its own: the environment of a test runner would make it a build for development.
  await promisify(execFile)(process.execPath, [VITE, ...args], {
    cwd: import.meta.dirname,
    env: { ...process.env, NODE_ENV: "production" },
  });
}
