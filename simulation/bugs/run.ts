/** Plants each bug in a process of its own, and lets seeds run until one fails: `npm run sim -- --bugs`. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { BUGS } from "./list.ts";

const MAIN = join(import.meta.dirname, "../main.ts");

/** @returns how many bugs nothing caught */
export async function runBugs(seeds: string, only: string | undefined): Promise<number> {
  let missed = 0;
  const planted = BUGS.filter(({ name }) => only === undefined || name === only);
  for (const { name } of planted) {
    const caught = await firstFailure(name, seeds);
    if (!caught) missed++;
    console.log(`${name.padEnd(36)} ${caught ?? "NOT CAUGHT"}`);
  }
  console.log(`${planted.length - missed} passed, ${missed} failed`);
  return missed;
}

async function firstFailure(bug: string, seeds: string): Promise<string | undefined> {
  const child = spawn(process.execPath, [MAIN, "--bug", bug, "--seeds", seeds, "--first", "--whole"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  const line = output.split("\n").find((each) => each.startsWith("seed "));
  if (code !== 0 && line === undefined) throw new Error(`Bug ${bug} could not be planted:\n${output}`);
  return line;
}
