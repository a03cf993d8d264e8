/** Child processes that speak lines of JSON, and die with their whole group. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** Nobody is waited for without end. Milliseconds. */
const ANSWER_MS = 40_000;

/** @throws when it takes longer */
export async function inTime<T>(what: string, answer: Promise<T>, ms = ANSWER_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: no answer in ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

type Line = Readonly<Record<string, unknown>>;

export class Child {
  readonly #process: ChildProcess;
  readonly #asked = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  readonly gone: Promise<void>;
  #ids = 0;
  #alive = true;

  /** @param heard takes every line that answers nothing */
  constructor(module: string, job: object, heard: (line: Line) => void) {
    this.#process = spawn(process.execPath, [module, JSON.stringify(job)], {
      detached: true,
      stdio: ["pipe", "pipe", process.env.LAKESYNC_FAULTS_LOUD ? "inherit" : "ignore"],
    });
    this.#process.stdin?.on("error", () => undefined);
    this.gone = new Promise((resolve) =>
      this.#process.on("close", () => {
        this.#alive = false;
        for (const { reject } of this.#asked.values()) reject(new Error("The process is gone."));
        this.#asked.clear();
        resolve();
      }),
    );
    const { stdout } = this.#process;
    if (!stdout) throw new Error("A child without an output.");
    createInterface({ input: stdout }).on("line", (text) => {
      const line = parsed(text);
      const asked = this.#asked.get(Number(line?.id));
      if (!line) return;
      if (!asked) return heard(line);
      this.#asked.delete(Number(line.id));
      if (line.error === undefined) asked.resolve(line.answer);
      else asked.reject(new Error(String(line.error)));
    });
  }

  get alive(): boolean {
    return this.#alive;
  }

  ask(call: string, argument?: unknown): Promise<unknown> {
    if (!this.#alive) return Promise.reject(new Error("The process is gone."));
    const id = ++this.#ids;
    const answer = new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#process.stdin?.write(`${JSON.stringify({ id, call, argument })}\n`);
    });
    return inTime(call, answer);
  }

  /** kill -9, for it and all that it started. */
  async kill(): Promise<void> {
    const { pid } = this.#process;
    try {
      if (pid !== undefined) process.kill(-pid, "SIGKILL");
    } catch {
      // It was faster.
    }
    await this.gone;
  }
}

/** A line that was broken off by a kill says nothing. */
function parsed(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}
