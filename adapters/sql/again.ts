/** Work on a connection of a database, again after a race that was lost and where the connection broke. */

const ATTEMPTS = 6;
const BACKOFF_MS = 50;

export interface Connections<C> {
  open(): Promise<C>;
  /** @param broken not to be used again */
  release(connection: C, broken: boolean): void | Promise<void>;
  /** Whether the same work may well go through when it is done again at once. */
  isRace(failure: unknown): boolean;
  /** Whether the connection is gone, and what it did last unknown. */
  isLost(failure: unknown): boolean;
  /** What is told: a LakeSyncError, or a bug of ours as it is. */
  errorOf(failure: unknown): unknown;
}

/** Whether a COMMIT that nobody answered went through is what the watermark tells the next attempt. */
export async function again<C, T>(connections: Connections<C>, body: (connection: C) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let connection: C | undefined;
    let broken = false;
    try {
      connection = await connections.open();
      return await body(connection);
    } catch (failure) {
      const race = connections.isRace(failure);
      const lost = connections.isLost(failure);
      broken = lost || !race;
      if (attempt >= ATTEMPTS || !(race || (lost && connection !== undefined))) throw connections.errorOf(failure);
    } finally {
      if (connection !== undefined) await connections.release(connection, broken);
    }
    await new Promise((resolve) => setTimeout(resolve, BACKOFF_MS * 2 ** attempt * (0.5 + Math.random())));
  }
}

export interface Frame {
  readonly begin: string;
  /** Waits for the statements that were sent before. */
  run(sql: string): Promise<unknown>;
  isLost(failure: unknown): boolean;
}

/** Runs a body between BEGIN and COMMIT, or takes back what it did. */
export async function inTransaction<T>({ begin, run, isLost }: Frame, body: () => Promise<T>): Promise<T> {
  await run(begin);
  try {
    const result = await body();
    await run("COMMIT");
    return result;
  } catch (failure) {
    if (!isLost(failure)) await run("ROLLBACK").catch(() => {});
    throw failure;
  }
}
