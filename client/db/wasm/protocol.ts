/** Messages between a page and the worker that owns its database. */
import type { ErrorCode, ErrorDetails } from "../../../schemas/index.ts";
import type { Backend, SqlParam } from "../driver.ts";

export interface OpenMessage {
  readonly id: number;
  readonly call: "open";
  readonly name: string;
  readonly backend: Backend;
}

export type RequestMessage =
  | OpenMessage
  | { readonly id: number; readonly call: "execute"; readonly sql: string; readonly params: readonly SqlParam[] }
  | {
      readonly id: number;
      readonly call: "executeMany";
      readonly sql: string;
      readonly paramLists: readonly (readonly SqlParam[])[];
    }
  | { readonly id: number; readonly call: "script" | "tablesOf"; readonly sql: string }
  | { readonly id: number; readonly call: "close" };

export interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly details: ErrorDetails };
}
