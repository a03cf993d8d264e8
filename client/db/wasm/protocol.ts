/** Messages between a page and its worker, and between the workers of several tabs. */
import type { ErrorCode, ErrorDetails } from "../../../schemas/index.ts";
import type { Backend, Driver, SqlParam } from "../driver.ts";
import { DriverError } from "../errors.ts";

export interface OpenMessage {
  readonly id: number;
  readonly call: "open";
  readonly name: string;
  readonly backend: Backend;
  /** A transaction of this page was open when the worker before this one ended. */
  readonly lost: boolean;
  /** Run by whoever comes to lead. */
  readonly setup: string;
}

/** A call of the driver port, by its name there. */
export interface CallMessage {
  readonly id: number;
  readonly call: "execute" | "executeMany" | "script" | "tablesOf";
  readonly sql: string;
  /** What the call takes beside the SQL: one list of parameters, many, or none. */
  readonly params?: readonly SqlParam[] | readonly (readonly SqlParam[])[];
}

export type RequestMessage = OpenMessage | CallMessage | { readonly id: number; readonly call: "close" };

export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

export interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: Failure;
}

/** What a page hears of its worker: answers, who leads from now on, that there are other tabs, and that the worker ends itself. */
export type FromWorker =
  | Reply
  | { readonly leads: boolean }
  | { readonly others: true }
  | { readonly torn: true; readonly inTransaction: boolean };

export interface Opened {
  readonly backend: Driver["backend"];
  readonly identity: string;
}

/** On the channel of a database. A leader is known by a name of its own, since its successor starts with nothing. */
export type ChannelMessage =
  | { readonly kind: "who" }
  | { readonly kind: "leader"; readonly leader: string; readonly opened: Opened }
  | { readonly kind: "call"; readonly leader: string; readonly session: string; readonly message: CallMessage }
  | { readonly kind: "reply"; readonly session: string; readonly reply: Reply };

export function failure(cause: unknown): Failure {
  const error = cause instanceof DriverError ? cause : new DriverError("StorageUnavailable", String(cause));
  return { code: error.code, message: error.message, details: error.details };
}

export async function perform(driver: Driver, message: CallMessage): Promise<Reply> {
  try {
    const call = driver[message.call] as (sql: string, params: CallMessage["params"]) => Promise<unknown>;
    return { id: message.id, value: await call.call(driver, message.sql, message.params) };
  } catch (cause) {
    return { id: message.id, error: failure(cause) };
  }
}
