/** The demo's gateway, and what an operator does with it. */
import { randomBytes } from "node:crypto";
import { applyEdit, cellOf, emptyRow, isAlive, type RowState } from "../../core/index.ts";
import {
  cellsAt,
  clientOf,
  decodeBatch,
  decodeMessage,
  encodeBinary,
  type HlcText,
  makeStamp,
  PROTOBUF,
  proto,
  unwrap,
} from "../../schemas/index.ts";
import { GatewayServer } from "../../server/index.ts";
import type { Table } from "./compare.ts";

export const GATEWAY_ID = "demo";

export class DemoGateway {
  readonly server: GatewayServer;
  #admin = "";

  /** @param assets directory of static files to serve beside the API */
  constructor(directory: string, port: number, assets?: string) {
    const vars = { LOG_LEVEL: "error" };
    this.server = new GatewayServer({
      port,
      gatewayId: GATEWAY_ID,
      jwtSecret: randomBytes(32).toString("hex"),
      persistence: "sqlite",
      directory,
      vars,
      ...(assets !== undefined && { assets }),
    });
  }

  async start(): Promise<URL> {
    const url = await this.server.start();
    this.#admin = await this.server.token({ sub: "operator", role: "admin" });
    return url;
  }

  get adminToken(): string {
    return this.#admin;
  }

  async #fetch(method: string, path: string, type: string, body?: BodyInit): Promise<Response> {
    const headers = { authorization: `Bearer ${this.#admin}`, "content-type": type, accept: type };
    const response = await fetch(new URL(path, this.server.url), {
      method,
      headers,
      ...(body !== undefined && { body }),
    });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
    return response;
  }

  /** An admin or catalogue route, in JSON. */
  async admin<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#fetch(
      method,
      path,
      "application/json",
      body === undefined ? undefined : JSON.stringify(body),
    );
    return (await response.json()) as T;
  }

  /** What the shards hold of a table: pulled with the admin's token, page by page. */
  async shardRows(table: string, columns: readonly string[]): Promise<Table> {
    const states = new Map<string, RowState>();
    for (let cursor = "", more = true; more; ) {
      const request = encodeBinary(proto.PullRequestSchema, {
        clientId: "operator",
        cursor,
        tables: [table],
        columnar: true,
        maxBytes: 4 << 20,
      });
      const response = await this.#fetch(
        "POST",
        `/v1/${GATEWAY_ID}/pull`,
        PROTOBUF,
        request as Uint8Array<ArrayBuffer>,
      );
      const page = unwrap(decodeMessage(proto.PullResponseSchema, new Uint8Array(await response.arrayBuffer())));
      for (const batch of page.batches.map((b) => unwrap(decodeBatch(b))))
        for (const [at, id] of batch.rowIds.entries()) {
          const state = states.get(id) ?? emptyRow();
          states.set(id, state);
          applyEdit(
            state,
            batch.ops[at] as "I" | "U" | "D",
            makeStamp(batch.hlcs[at] as HlcText, clientOf(batch, at)),
            cellsAt(batch, at),
            0,
          );
        }
      cursor = page.cursor;
      more = page.hasMore;
    }
    const rows = new Map();
    for (const [id, state] of states)
      if (isAlive(state)) rows.set(id, Object.fromEntries(columns.map((c) => [c, cellOf(state, c) ?? null])));
    return rows;
  }
}
