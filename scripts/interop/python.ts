/**
 * Python for the interop tests: a virtual environment in .cache/interop, made once per requirements.txt, and a call of a
 * script with JSON in and JSON out (scripts/interop/bridge.py).
 *
 *   await runPython("readers.py", [{ engine: "duckdb", metadata: "/path/v3.metadata.json" }])
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** Survives runs, and may go at any time. */
export const cache = join(import.meta.dirname, "../../.cache/interop");
const venv = join(cache, "venv");
const requirements = join(import.meta.dirname, "requirements.txt");

/** A Python that can make a virtual environment and is new enough for PyIceberg; `undefined` where there is none. */
function systemPython(): string | undefined {
  const probe = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
  return ["python3", "python3.13", "python3.12", "python3.11"].find((name) => runs(name, ["-c", probe]));
}

function runs(command: string, args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** What the readers need and this machine lacks, as Debian names it. */
export function missingSystemPackages(): string[] {
  return [
    ...(systemPython() === undefined ? ["python3", "python3-venv"] : []),
    ...(runs("java", ["-version"]) ? [] : ["default-jre-headless"]),
    ...(runs("mariadbd", ["--version"]) ? [] : ["mariadb-server"]),
  ];
}

/** Makes the virtual environment unless the one that is there was made from the same requirements. */
export const preparePython = (): void => makeVenv(venv, requirements);

/** Makes a virtual environment unless the one that is there was made from the same file of requirements. */
export function makeVenv(folder: string, file: string): void {
  const stamp = `${folder}.sha256`;
  const wanted = createHash("sha256").update(readFileSync(file)).digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  const python = systemPython();
  if (python === undefined) throw new Error("the interop tests need Python 3.11 or newer with its venv module");
  rmSync(stamp, { force: true });
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  execFileSync(python, ["-m", "venv", folder], { stdio: "inherit" });
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", file];
  execFileSync(join(folder, "bin/python"), pip, { stdio: "inherit" });
  // Last, so that an installation that broke off is made again.
  writeFileSync(stamp, wanted);
}

/** A program that came with a package of the virtual environment. */
export const inVenv = (program: string): string => join(venv, "bin", program);

/** What a line of Python prints. */
export const printedByPython = (line: string): string =>
  execFileSync(inVenv("python"), ["-c", line], { encoding: "utf8" }).trim();

/** Runs a script of scripts/interop (or an absolute path) and answers with what it returned. Its own prints go to stderr. */
export async function runPython<T>(script: string, input: unknown): Promise<T> {
  const child = spawn(join(venv, "bin/python"), [resolve(import.meta.dirname, script)], {
    env: {
      ...process.env,
      PYTHONPATH: import.meta.dirname,
      PYTHONDONTWRITEBYTECODE: "1",
      // Some engines hand out local times without a zone.
      TZ: "UTC",
      INTEROP_IVY: join(cache, "ivy"),
    },
    stdio: ["pipe", "pipe", "pipe", "pipe"],
  });
  const [stdout, stderr, answer] = [child.stdout, child.stderr, child.stdio[3]].map((stream) => {
    const chunks: Buffer[] = [];
    stream?.on("data", (chunk: Buffer) => chunks.push(chunk));
    return () => Buffer.concat(chunks).toString();
  });
  child.stdin.end(JSON.stringify(input));
  const code = await new Promise((done, fail) => child.once("error", fail).once("close", done));
  if (code !== 0) throw new Error(`${script} ended with ${code}\n${stdout?.()}${stderr?.()}`);
  return JSON.parse(answer?.() ?? "");
}

/** Spark needs a Java that a machine may not have. */
export const withoutSpark = process.env.LAKESYNC_WITHOUT_SPARK === "1";

/** Engines that read, and whether each is left out here. */
export const ENGINES = [
  { engine: "pyiceberg", left: false },
  { engine: "duckdb", left: false },
  { engine: "spark", left: withoutSpark },
] as const;
