/**
 * `Catalogue` over any Iceberg REST catalogue: R2 Data Catalog, Nessie, Polaris, Lakekeeper, or another LakeSync.
 *
 *   first use   GET /v1/config?warehouse=   defaults, then ours, then overrides; prefix, separator, endpoints
 *   then        /v1/{prefix}/...            64-bit ids kept whole; a 401 renews the token once
 *
 * A commit has three endings (L2): 2xx landed, 409 conflict, and unknown for everything that leaves it open: 5xx, a timeout,
 * a connection that broke. Any other refusal means that nothing landed.
 */
import type {
  Catalogue,
  Clock,
  CommitOutcome,
  CreateTable,
  LoadedTable,
  TableIdent,
  TableRequirement,
  TableUpdate,
} from "../../core/index.ts";
import { type ErrorCode, err, LakeSyncError, ok } from "../../schemas/index.ts";
import { catalogueError, isIcebergErrorType } from "./errors.ts";
import { parseJson, stringifyJson } from "./json.ts";
import { SEPARATOR } from "./names.ts";
import { type RestAuth, type Tokens, tokensOf } from "./rest-auth.ts";
import type { Answer } from "./server.ts";

export interface RestCatalogueOptions {
  /** Base address, without /v1. */
  readonly uri: string;
  /** Which of the server's warehouses; servers with one need none. */
  readonly warehouse?: string;
  readonly auth: RestAuth;
  /** Injected, so that tests and Workers choose their own. */
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  /** For each request. Milliseconds. */
  readonly timeoutMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

const TIMEOUT_MS = 30_000;
/** Pages of a listing; a server that never ends one is broken. */
const PAGES_MAX = 10_000;

interface Session {
  /** ".../v1" or ".../v1/{prefix}". */
  readonly base: string;
  readonly separator: string;
  /** Undefined when the server lists none: then the specification's default set holds, which is all that is used here. */
  readonly endpoints: ReadonlySet<string> | undefined;
}
type Json = Readonly<Record<string, unknown>>;

const NAMESPACE = "/v1/{prefix}/namespaces/{namespace}";
const TABLE = `${NAMESPACE}/tables/{table}`;

export class RestCatalogue implements Catalogue {
  readonly #options: RestCatalogueOptions;
  readonly #uri: string;
  readonly #tokens: Tokens;
  #session: Promise<Session> | undefined;

  constructor(options: RestCatalogueOptions) {
    this.#options = options;
    this.#uri = options.uri.replace(/\/+$/, "");
    const { fetch, clock, timeoutMs = TIMEOUT_MS } = options;
    this.#tokens = tokensOf(options.auth, { fetch, clock, timeoutMs, ownTokenUri: `${this.#uri}/v1/oauth/tokens` });
  }

  async ensureNamespace(namespace: readonly string[]): Answer<void> {
    const there = await this.#call(`GET ${NAMESPACE}`, (path) => path(namespace));
    if (there.ok || there.error.code !== "NotFound") return there.ok ? ok(undefined) : there;
    // Some catalogues want each parent first.
    for (let levels = 1; levels <= namespace.length; levels += 1) {
      const body = { namespace: namespace.slice(0, levels), properties: {} };
      const made = await this.#call("POST /v1/{prefix}/namespaces", (_path, base) => `${base}/namespaces`, body);
      if (!made.ok && made.error.code !== "Conflict") return made;
    }
    return ok(undefined);
  }

  async listTables(namespace: readonly string[]): Answer<readonly TableIdent[]> {
    const found: TableIdent[] = [];
    let query = "";
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const answer = await this.#call(`GET ${NAMESPACE}/tables`, (path) => `${path(namespace)}/tables${query}`);
      if (!answer.ok) return answer;
      found.push(...((answer.value.identifiers ?? []) as TableIdent[]));
      const next = answer.value["next-page-token"];
      if (typeof next !== "string") return ok(found);
      query = `?pageToken=${encodeURIComponent(next)}`;
    }
    return err(new LakeSyncError("DestinationRefused", "The catalogue's listing does not end."));
  }

  async load(table: TableIdent): Answer<LoadedTable> {
    return loadedTable(await this.#call(`GET ${TABLE}`, (path) => path(table)));
  }

  async create({ namespace, name }: TableIdent, definition: CreateTable): Answer<LoadedTable> {
    const { schema, location, partitionSpec, sortOrder, properties } = definition;
    const body = {
      name,
      schema,
      ...(location && { location }),
      ...(partitionSpec && { "partition-spec": partitionSpec }),
      ...(sortOrder && { "write-order": sortOrder }),
      "stage-create": false,
      properties: properties ?? {},
    };
    return loadedTable(await this.#call(`POST ${NAMESPACE}/tables`, (path) => `${path(namespace)}/tables`, body));
  }

  async commit(
    table: TableIdent,
    requirements: readonly TableRequirement[],
    updates: readonly TableUpdate[],
  ): Answer<CommitOutcome> {
    const body = { identifier: table, requirements, updates };
    const answer = loadedTable(await this.#call(`POST ${TABLE}`, (path) => path(table), body));
    if (answer.ok) return ok<CommitOutcome>({ outcome: "landed", table: answer.value });
    const { error } = answer;
    if (error.code === "CommitConflict" || error.code === "Conflict") {
      return ok<CommitOutcome>({ outcome: "conflict", reason: error.message });
    }
    return OPEN_ENDED.has(error.code) ? ok<CommitOutcome>({ outcome: "unknown", reason: error.message }) : answer;
  }

  async drop(table: TableIdent, options: { readonly purge?: boolean } = {}): Answer<void> {
    const query = `?purgeRequested=${options.purge ?? false}`;
    const answer = await this.#call(`DELETE ${TABLE}`, (path) => `${path(table)}${query}`);
    return answer.ok ? ok(undefined) : answer;
  }

  /** One request of an endpoint as the specification writes it, "GET /v1/{prefix}/...". */
  async #call(
    endpoint: string,
    address: (path: (name: readonly string[] | TableIdent) => string, base: string) => string,
    body?: unknown,
  ): Answer<Json> {
    let session: Session;
    try {
      session = await this.#open();
    } catch (error) {
      if (error instanceof LakeSyncError) return err(error);
      throw error;
    }
    const { base, separator, endpoints } = session;
    if (endpoints !== undefined && !endpoints.has(endpoint)) {
      return err(catalogueError("UnsupportedOperationException", `The catalogue does not offer ${endpoint}.`));
    }
    const part = (namespace: readonly string[]) => encodeURIComponent(namespace.join(separator));
    const path = (name: readonly string[] | TableIdent): string =>
      "name" in name
        ? `${base}/namespaces/${part(name.namespace)}/tables/${encodeURIComponent(name.name)}`
        : `${base}/namespaces/${part(name)}`;
    return this.#request(endpoint.split(" ")[0] ?? "GET", address(path, base), body);
  }

  /** The handshake, once; one that failed is tried again at the next use. Throws its LakeSyncError. */
  #open(): Promise<Session> {
    this.#session ??= this.#handshake().catch((error: unknown) => {
      this.#session = undefined;
      throw error;
    });
    return this.#session;
  }

  async #handshake(): Promise<Session> {
    const { warehouse } = this.#options;
    const query = warehouse === undefined ? "" : `?warehouse=${encodeURIComponent(warehouse)}`;
    const answer = await this.#request("GET", `${this.#uri}/v1/config${query}`);
    if (!answer.ok) throw answer.error;
    const { defaults, overrides, endpoints } = answer.value as Record<string, Record<string, string> | undefined>;
    const config: Record<string, string | undefined> = {
      ...defaults,
      ...(warehouse !== undefined && { warehouse }),
      ...overrides,
    };
    const uri = config.uri?.replace(/\/+$/, "") ?? this.#uri;
    const encoded = config["namespace-separator"];
    return {
      base: config.prefix ? `${uri}/v1/${config.prefix}` : `${uri}/v1`,
      separator: encoded === undefined ? SEPARATOR : decodeURIComponent(encoded),
      endpoints: Array.isArray(endpoints) ? new Set(endpoints as string[]) : undefined,
    };
  }

  async #request(method: string, url: string, body?: unknown): Answer<Json> {
    for (let tries = 1; ; tries += 1) {
      const authorization = await this.#tokens.header();
      if (!authorization.ok) return authorization;
      let status: number;
      let text: string;
      try {
        const response = await this.#options.fetch(url, {
          method,
          headers: {
            Accept: "application/json",
            ...this.#options.headers,
            ...(authorization.value !== undefined && { Authorization: authorization.value }),
            ...(body !== undefined && { "Content-Type": "application/json" }),
          },
          ...(body !== undefined && { body: stringifyJson(body) }),
          signal: AbortSignal.timeout(this.#options.timeoutMs ?? TIMEOUT_MS),
        });
        status = response.status;
        text = await response.text();
      } catch (cause) {
        const timeout = cause instanceof Error && cause.name === "TimeoutError";
        const message = timeout ? "The catalogue did not answer in time." : "The catalogue cannot be reached.";
        return err(new LakeSyncError(timeout ? "Timeout" : "DestinationUnavailable", message, {}, { cause }));
      }
      if (status === 401 && tries === 1 && this.#tokens.forget()) continue;
      return readAnswer(status, text);
    }
  }
}

/** Failures after which a commit may have landed all the same. */
const OPEN_ENDED: ReadonlySet<ErrorCode> = new Set(["CommitUnknown", "Timeout", "DestinationUnavailable", "Internal"]);

function readAnswer(status: number, text: string): { ok: true; value: Json } | { ok: false; error: LakeSyncError } {
  let content: unknown;
  try {
    content = text === "" ? {} : parseJson(text);
  } catch {
    content = undefined;
  }
  if (status >= 200 && status < 300) {
    if (typeof content === "object" && content !== null) return ok(content as Json);
    return err(new LakeSyncError("DestinationUnavailable", `The catalogue answered ${status} with what is not JSON.`));
  }
  const error = (content as { error?: { message?: unknown; type?: unknown } } | undefined)?.error;
  const said = typeof error?.message === "string" ? error.message.slice(0, 500) : "no reason given";
  const message = `The catalogue answered ${status}: ${said}`;
  const details = { type: isIcebergErrorType(error?.type) ? error.type : `HTTP ${status}` };
  return err(new LakeSyncError(codeOf(status, details.type), message, details));
}

function codeOf(status: number, type: string): ErrorCode {
  if (status === 401 || status === 419) return "Unauthenticated";
  if (status === 403) return "Forbidden";
  if (status === 404) return "NotFound";
  if (status === 409) return type === "CommitFailedException" ? "CommitConflict" : "Conflict";
  if (status === 429) return "RateLimited";
  if (status === 504) return "Timeout";
  if (status >= 500) return type === "CommitStateUnknownException" ? "CommitUnknown" : "DestinationUnavailable";
  return "BadRequest";
}

/** A table out of an answer; one without is as good as no answer. */
function loadedTable(
  answer: Awaited<Answer<Json>>,
): { ok: true; value: LoadedTable } | { ok: false; error: LakeSyncError } {
  if (!answer.ok) return answer;
  const { metadata, "metadata-location": metadataLocation } = answer.value;
  if (typeof metadata !== "object" || metadata === null || typeof metadataLocation !== "string") {
    return err(new LakeSyncError("DestinationUnavailable", "The catalogue's answer has no table in it."));
  }
  return ok({ metadata: metadata as LoadedTable["metadata"], metadataLocation });
}
