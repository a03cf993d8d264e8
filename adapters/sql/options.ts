/** What adapters of SQL databases are told, whatever the dialect. */
export interface SqlOptions {
  /** Never shown. */
  readonly connectionString: string;
  /**
   * "kept": a few connections stay open, for a process that lives long. "each": one for each call, as a Worker needs it,
   * whose sockets end with the request; Hyperdrive has them ready.
   */
  readonly connections?: "kept" | "each";
  /** How the destination is called in errors, such as the binding's name. */
  readonly name?: string;
}

/** Flushes, reads and migrations of one adapter that may be at work at once; a Worker has six connections. */
export const CONNECTIONS_MAX = 4;
export const CONNECT_MS = 10_000;
