/**
 * An emulator of BigQuery for the interop tests: REST with load jobs, GoogleSQL with scripts, transactions and MERGE, over
 * DuckDB. Started on a free port of this machine, and ended with the test.
 */
import { spawn } from "node:child_process";
import { copyFileSync, globSync, mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { basename, join } from "node:path";
import { cache, makeVenv } from "./python.ts";

const venv = join(cache, "bigquery");
/** Where DuckDB looks for extensions: what it would download is laid there beforehand. */
const home = join(cache, "bigquery-home");
const PATIENCE_MS = 60_000;

export function prepareBigQuery(): void {
  makeVenv(venv, join(import.meta.dirname, "requirements-bigquery.txt"));
  for (const file of globSync(join(venv, "lib/*/site-packages/duckdb_extension_*/extensions/*/*.duckdb_extension"))) {
    const version = basename(join(file, ".."));
    const folder = join(home, ".duckdb/extensions", version, process.arch === "arm64" ? "linux_arm64" : "linux_amd64");
    mkdirSync(folder, { recursive: true });
    copyFileSync(file, join(folder, basename(file)));
  }
}

export interface EmulatedBigQuery {
  readonly endpoint: string;
  /** @returns the name of an empty dataset in project `local` */
  makeDataset(name: string): Promise<string>;
  stop(): void;
}

export async function startBigQuery(): Promise<EmulatedBigQuery> {
  const [rest, grpc] = [await freePort(), await freePort()];
  const flags = [
    "start",
    "--rest-port",
    String(rest),
    "--grpc-port",
    String(grpc),
    "--ephemeral",
    "--log-level",
    "error",
  ];
  const child = spawn(join(venv, "bin/bqemulator"), flags, { env: { ...process.env, HOME: home }, stdio: "ignore" });
  const endpoint = `http://127.0.0.1:${rest}`;
  const post = (path: string, body: unknown) =>
    fetch(`${endpoint}/bigquery/v2/projects/local/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  for (const start = Date.now(); ; ) {
    const up = await post("queries", { query: "SELECT 1", useLegacySql: false }).then(
      (response) => response.ok,
      () => false,
    );
    if (up) break;
    if (Date.now() - start > PATIENCE_MS || child.exitCode !== null) {
      child.kill();
      throw new Error("the emulator of BigQuery does not start");
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return {
    endpoint,
    async makeDataset(datasetId) {
      const made = await post("datasets", { datasetReference: { projectId: "local", datasetId } });
      if (!made.ok) throw new Error(`no dataset: ${await made.text()}`);
      return datasetId;
    },
    stop: () => void child.kill(),
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port")),
      );
    });
  });
}
