/**
 * The port to a gateway. A transport carries one request at a time and answers or rejects; it keeps no queue and retries
 * nothing but a 401 (C7): what to do about a failure is the coordinator's to decide.
 */
import type { ClientId, DeltaBatch, ErrorCode, HlcText } from "../../schemas/index.ts";

export interface PushCall {
  readonly clientId: ClientId;
  readonly batches: readonly DeltaBatch[];
}

export interface Refusal {
  readonly table: string;
  readonly rowId: string;
  readonly hlc: HlcText;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface PushAnswer {
  /** What was not taken; everything else was. */
  readonly rejected: readonly Refusal[];
  /** The gateway's clock. */
  readonly serverHlc: HlcText;
  /** Where the gateway stands; different from the device's cursor when there is something to pull. */
  readonly cursorHint: string;
}

export interface PullCall {
  readonly clientId: ClientId;
  /** As an earlier page gave it; "" to start from nothing. */
  readonly cursor: string;
  readonly tables?: readonly string[];
  readonly maxBytes?: number;
}

export interface Page {
  readonly batches: readonly DeltaBatch[];
  readonly cursor: string;
  readonly hasMore: boolean;
  /** The device drops its synced rows before it applies the page. */
  readonly resync: boolean;
  readonly serverHlc: HlcText;
  /** Of the rows of each table that this device sees whole, where the page makes it current (V1). */
  readonly digests?: Readonly<Record<string, string>>;
  /** Of a page that came unasked: the cursor that it goes on from. */
  readonly follows?: string;
}

export interface CheckpointChunk {
  readonly name: string;
  /** 0 where the gateway looks them up when they are asked for. */
  readonly rows: number;
  /** As they come, compressed; 0 likewise. */
  readonly bytes: number;
  /** Of what comes, in hex; absent likewise. */
  readonly sha256?: string;
}

/** All rows that the device may see, in parts, and the cursor that stands behind them. */
export interface Checkpoint {
  /** "" when there is nothing to install. */
  readonly cursor: string;
  /** To be installed in this order. */
  readonly chunks: readonly CheckpointChunk[];
  readonly rows: number;
}

export interface TransportEvents {
  /** The gateway has something new. */
  poke(cursorHint: string): void;
  /** What is new, unasked: what a device that stands at `follows` would get by pulling. */
  page?(page: Page): void;
  /** Whether pokes can be expected just now. */
  live(connected: boolean): void;
}

export interface Transport {
  /** Rejects with a `LakeSyncError`; `details.retryAfterMs` where the gateway said when to come back. */
  push(call: PushCall, signal?: AbortSignal): Promise<PushAnswer>;
  pull(call: PullCall, signal?: AbortSignal): Promise<Page>;
  /**
   * Where a device without data begins.
   * @param older rows as well that have left a table's hot window
   */
  checkpoint(tables: readonly string[], signal?: AbortSignal, older?: boolean): Promise<Checkpoint>;
  /** A part of it, gzipped. Rejects with `CursorExpired` when it is gone. */
  chunk(name: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** Starts listening for pokes, where the transport can. @returns a function that stops it */
  listen?(events: TransportEvents): () => void;
}

/** A bearer token, or what gets one; `stale` is true when the gateway refused the last one. */
export type TokenSource = string | ((request: { readonly stale: boolean }) => Promise<string> | string);

export const getToken = async (source: TokenSource, stale: boolean): Promise<string> =>
  typeof source === "string" ? source : source({ stale });
