/**
 * Several tabs at one connection: calls are answered in the order of arrival, and from a tab's BEGIN to its COMMIT or
 * ROLLBACK only that tab is answered. A tab that dies in the middle is rolled back.
 */
import type { Driver } from "../driver.ts";
import { Mutex } from "../mutex.ts";

export const BEGIN = /^\s*begin\b/i;
export const ROLLBACK = /^\s*rollback(?!\s+(?:transaction\s+)?to\b)/i;
export const END = /^\s*(?:commit|end|rollback(?!\s+(?:transaction\s+)?to\b))\b/i;

interface Job {
  readonly session: string;
  readonly sql: string | undefined;
  /** @returns whether the call succeeded */
  readonly run: () => Promise<boolean>;
}

export class Turnstile {
  readonly #driver: Driver;
  readonly #mutex = new Mutex();
  readonly #waiting: Job[] = [];
  /** Whose transaction is open. */
  #owner: string | undefined;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** @param sql of a call that runs one statement @param run makes the call, and says whether it succeeded */
  pass(session: string, sql: string | undefined, run: () => Promise<boolean>): void {
    this.#waiting.push({ session, sql, run });
    this.#next();
  }

  /** The session's tab is gone. */
  leave(session: string): void {
    for (let at = this.#waiting.length - 1; at >= 0; at--)
      if (this.#waiting[at]?.session === session) this.#waiting.splice(at, 1);
    void this.#mutex.run(async () => {
      if (this.#owner !== session) return;
      await this.#driver.execute("ROLLBACK").catch(() => undefined);
      await this.#driver.execute("SELECT lakesync_apply(0)");
      this.#free();
    });
  }

  #free(): void {
    this.#owner = undefined;
    for (let left = this.#waiting.length; left > 0; left--) this.#next();
  }

  #next(): void {
    void this.#mutex.run(async () => {
      const at = this.#waiting.findIndex((job) => this.#owner === undefined || job.session === this.#owner);
      const [job] = at < 0 ? [] : this.#waiting.splice(at, 1);
      if (!job) return;
      const { session, sql = "", run } = job;
      if (BEGIN.test(sql)) this.#owner = session;
      const succeeded = await run();
      // A COMMIT that fails leaves the transaction open, for its owner to roll back.
      const over = BEGIN.test(sql) ? !succeeded : END.test(sql) && (succeeded || ROLLBACK.test(sql));
      if (over) this.#free();
    });
  }
}
