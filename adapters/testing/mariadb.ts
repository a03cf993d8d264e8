/**
 * A real MariaDB, Debian's, on a free port and in a temporary directory. It ends when `stop` is called or the pipe closes,
 * so also when the tests are killed.
 */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createConnection } from "mysql2/promise";

export interface TestMariadb {
  /** A user with all rights, of a database `test`. */
  readonly url: string;
  stop(): Promise<void>;
  /** Ends it with SIGKILL, as a machine's memory killer would. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, on its data and port. */
  restart(): Promise<void>;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

async function untilReady(settings: { host: string; port: number; user: string }): Promise<void> {
  for (const deadline = Date.now() + 60_000; ; ) {
    try {
      const connection = await createConnection(settings);
      await connection.query("CREATE DATABASE IF NOT EXISTS test");
      await connection.query("GRANT ALL ON *.* TO tester@'%' IDENTIFIED BY 'tester' WITH GRANT OPTION");
      await connection.end();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}

export async function startMariadb(): Promise<TestMariadb> {
  const scratch = mkdtempSync(join(tmpdir(), "lakesync-mariadb-"));
  chmodSync(scratch, 0o755);
  const user = process.getuid?.() === 0 ? ["--user=mysql"] : [];
  if (user.length > 0) execFileSync("chown", ["mysql:mysql", scratch]);
  const data = join(scratch, "data");
  const install = [
    "--no-defaults",
    `--datadir=${data}`,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    ...user,
  ];
  execFileSync("mariadb-install-db", install, { stdio: ["ignore", "ignore", "inherit"] });
  const port = await freePort();
  const pidFile = join(scratch, "pid");
  const flags = [
    ...["--no-defaults", `--datadir=${data}`, `--socket=${join(scratch, "socket")}`, `--port=${port}`, ...user],
    `--pid-file=${pidFile}`,
    // A commit outlives the process, not the machine: durability is MariaDB's affair, not what we test.
    ...["--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2", "--log-error"],
  ];
  const untilPipeCloses =
    '"$0" "$@" <&- & pid=$!; read -r how; kill $pid 2>/dev/null; wait $pid; [ "$how" = keep ] || rm -rf "$SCRATCH" 2>/dev/null';
  const launch = () =>
    spawn("/bin/sh", ["-c", untilPipeCloses, "mariadbd", ...flags], {
      detached: true,
      env: { ...process.env, SCRATCH: scratch },
      stdio: ["pipe", "ignore", "ignore"],
    });
  let server = launch();
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
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
    server.stdin?.end("keep\n"); // the shell takes leave of it, or its name in the process table would seem alive
    await ended();
  };
  const ready = () => untilReady({ host: "127.0.0.1", port, user: "root" });
  const restart = () => {
    server = launch();
    return ready();
  };
  try {
    await ready();
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `mysql://tester:tester@127.0.0.1:${port}/test`, stop, kill, restart };
}
