/** A gateway as an analyst meets it: its catalogue, its files with credentials that are lent and renewed, what it has not flushed. */
import type { LakeAdapter, LoadedTable } from "../core/index.ts";
import { identOf, parseJson, RestCatalogue, S3Store, type TableKind } from "../lake/index.ts";
import {
  type ClientId,
  type ErrorCode,
  type HlcText,
  isErrorCode,
  LakeSyncError,
  type Op,
  type Scalar,
  type TableSchema,
  unwrap,
} from "../schemas/index.ts";
import type { Edit, Watermarks } from "./moment.ts";

export interface GatewayOptions {
  /** Address of the gateway: `https://lake.example`. */
  readonly url: string | URL;
  readonly gatewayId: string;
  /** A token of role admin: the lake holds every row and knows no sync rules. A function is asked for each request. */
  readonly token: string | (() => string | Promise<string>);
  readonly fetch?: typeof fetch;
}

/** Credentials are renewed this long before they expire. Milliseconds. */
const RENEW_AHEAD_MS = 5 * 60_000;

interface UnflushedShard {
  readonly shard: string;
  /** Last seq of the shard. */
  readonly to: number;
  readonly edits: readonly (readonly [
    seq: number,
    receivedMs: number,
    hlc: HlcText,
    clientId: ClientId,
    op: Op,
    rowId: string,
    cells: Record<string, Scalar>,
  ])[];
  readonly more: boolean;
}

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #root: string;
  readonly #catalogue: RestCatalogue;
  #lent: { readonly store: S3Store; readonly renewAtMs: number } | undefined;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#root = String(options.url).replace(/\/+$/, "");
    const { gatewayId, fetch: via = (...args: Parameters<typeof fetch>) => fetch(...args) } = options;
    this.#catalogue = new RestCatalogue({
      uri: `${this.#root}/iceberg`,
      warehouse: gatewayId,
      auth: { type: "bearer", token: () => this.#token() },
      fetch: via as typeof fetch,
      clock: Date,
    });
  }

  async #token(): Promise<string> {
    const { token } = this.#options;
    return typeof token === "string" ? token : token();
  }

  async #ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers = { authorization: `Bearer ${await this.#token()}`, "content-type": "application/json" };
    const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
    const via = this.#options.fetch ?? fetch;
    const response = await via(`${this.#root}${path}`, init).catch((cause: unknown) => {
      throw new LakeSyncError("Network", `The gateway at ${this.#root} cannot be reached.`, {}, { cause });
    });
    const text = await response.text();
    if (response.ok) return parseJson(text) as T;
    throw refusal(response.status, text);
  }

  /** Schemas of all tables, those that were never flushed included. */
  async tables(): Promise<readonly TableSchema[]> {
    const { tables } = await this.#ask<{ tables: TableSchema[] }>("GET", `/v1/${this.#options.gatewayId}/admin/tables`);
    return tables;
  }

  /** Undefined for a table that the lake does not have yet. */
  async load(table: string, kind: TableKind): Promise<LoadedTable | undefined> {
    const loaded = await this.#catalogue.load(identOf({}, table, kind));
    if (!loaded.ok && loaded.error.code === "NotFound") return undefined;
    return unwrap(loaded);
  }

  /** The gateway's files, for reading. */
  async store(table: string): Promise<LakeAdapter> {
    if (!this.#lent || this.#lent.renewAtMs < Date.now()) this.#lent = await this.#borrow(table);
    return this.#lent.store;
  }

  async #borrow(table: string) {
    const { gatewayId } = this.#options;
    const path = `/iceberg/v1/${gatewayId}/namespaces/app/tables/${encodeURIComponent(table)}/credentials`;
    type Lent = { prefix: string; config: Record<string, string> };
    const [lent] = (await this.#ask<{ "storage-credentials": Lent[] }>("GET", path))["storage-credentials"];
    if (!lent)
      throw new LakeSyncError("Misconfigured", "The gateway lends no credentials; set LAKE_CREDENTIALS_SECRET there.");
    const { config } = lent;
    const store = new S3Store({
      bucket: new URL(lent.prefix).host,
      endpoint: config["s3.endpoint"] ?? "",
      region: config["s3.region"] ?? "",
      accessKeyId: config["s3.access-key-id"] ?? "",
      secretAccessKey: config["s3.secret-access-key"] ?? "",
      sessionToken: config["s3.session-token"] ?? "",
    });
    return { store, renewAtMs: Number(config["s3.session-token-expires-at-ms"]) - RENEW_AHEAD_MS };
  }

  /** Edits of a table after what the lake holds, to the heads of its shards. */
  async unflushed(table: string, held: Watermarks): Promise<{ edits: Edit[]; heads: Watermarks }> {
    const edits: Edit[] = [];
    const heads = new Map<string, number>();
    const after = Object.fromEntries(held);
    for (let more = true; more; ) {
      const path = `/v1/${this.#options.gatewayId}/admin/tables/${encodeURIComponent(table)}/unflushed`;
      const { shards } = await this.#ask<{ shards: UnflushedShard[] }>("POST", path, {
        after,
        to: Object.fromEntries(heads),
      });
      for (const each of shards) {
        heads.set(each.shard, each.to);
        edits.push(...each.edits.map((edit) => editOf(each.shard, edit)));
        after[each.shard] = each.more ? (each.edits.at(-1)?.[0] ?? each.to) : each.to;
      }
      more = shards.some((each) => each.more);
    }
    return { edits, heads };
  }
}

const editOf = (
  shard: string,
  [seq, receivedMs, hlc, clientId, op, rowId, cells]: UnflushedShard["edits"][number],
): Edit => ({ shard, seq, received: receivedMs * 1000, hlc, clientId, op, rowId, cells });

function refusal(status: number, text: string): LakeSyncError {
  const parsed = text.startsWith("{") ? (JSON.parse(text) as { error?: { code?: unknown; message?: string } }) : {};
  const { code, message = `HTTP ${status}` } = parsed.error ?? {};
  const named: ErrorCode =
    typeof code === "string" && isErrorCode(code) ? code : status === 403 ? "Forbidden" : "Unavailable";
  return new LakeSyncError(named, message);
}
