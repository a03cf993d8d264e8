/** Requests over HTTP, as protobuf; one retry with a fresh token after a 401 (C7). */
import { LakeSyncError, parseGatewayId } from "../../schemas/index.ts";
import { defaultPlatform, type Platform } from "../platform.ts";
import {
  ERROR_BODY,
  gatewayError,
  PULL_REQUEST,
  PULL_RESPONSE,
  PUSH_REQUEST,
  PUSH_RESPONSE,
  pageOf,
  pullMessage,
  pushAnswer,
  pushMessage,
} from "./codec.ts";
import {
  type Checkpoint,
  getToken,
  type Page,
  type PullCall,
  type PushAnswer,
  type PushCall,
  type TokenSource,
  type Transport,
} from "./port.ts";
import { decode, encode } from "./protobuf.ts";
import { through } from "./through.ts";

export interface HttpTransportOptions {
  /** Origin of the gateway, with or without a path. */
  readonly baseUrl: string;
  readonly gatewayId: string;
  readonly token: TokenSource;
  /** Compresses request bodies of more than 1 KB. Default true where the runtime can. */
  readonly gzip?: boolean;
  /** A request without an answer fails after this long. Milliseconds, default 30,000. */
  readonly timeoutMs?: number;
  readonly platform?: Pick<Platform, "fetch" | "timers">;
}

const PROTOBUF = "application/x-protobuf";
const GZIP_MIN_BYTES = 1024;

export class HttpTransport implements Transport {
  readonly #base: string;
  readonly #token: TokenSource;
  readonly #gzip: boolean;
  readonly #timeoutMs: number;
  readonly #platform: Pick<Platform, "fetch" | "timers">;

  constructor(options: HttpTransportOptions) {
    const gatewayId = parseGatewayId(options.gatewayId);
    this.#base = `${options.baseUrl.replace(/\/+$/, "")}/v1/${gatewayId}`;
    this.#token = options.token;
    this.#gzip = options.gzip ?? typeof CompressionStream === "function";
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#platform = options.platform ?? defaultPlatform();
  }

  async push(call: PushCall, signal?: AbortSignal): Promise<PushAnswer> {
    const body = encode(PUSH_REQUEST, pushMessage(call));
    const answer = await this.#ask("push", body, signal);
    return pushAnswer(decode(PUSH_RESPONSE, answer));
  }

  async pull(call: PullCall, signal?: AbortSignal): Promise<Page> {
    const body = encode(PULL_REQUEST, pullMessage(call));
    const answer = await this.#ask("pull", body, signal);
    return pageOf(decode(PULL_RESPONSE, answer));
  }

  async checkpoint(tables: readonly string[], signal?: AbortSignal, older = false): Promise<Checkpoint> {
    const answer = await this.#ask(`checkpoint?tables=${tables}&older=${older}`, undefined, signal);
    return JSON.parse(new TextDecoder().decode(answer));
  }

  async chunk(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#ask(`checkpoint/${encodeURIComponent(name)}`, undefined, signal);
  }

  /** @param body of a POST; a GET without @param stale the last token was refused */
  async #ask(
    route: string,
    body: Uint8Array | undefined,
    signal: AbortSignal | undefined,
    stale = false,
  ): Promise<Uint8Array> {
    const zip = this.#gzip && body !== undefined && body.length > GZIP_MIN_BYTES;
    const sent = zip ? await through(new CompressionStream("gzip"), body) : body;
    const token = await getToken(this.#token, stale);
    const [answer, error] = await this.#send(route, sent, zip, token, signal);
    if (!error) return answer;
    if (error.code === "Unauthenticated" && !stale && typeof this.#token !== "string")
      return this.#ask(route, body, signal, true);
    throw error;
  }

  async #send(
    route: string,
    body: Uint8Array | undefined,
    zipped: boolean,
    token: string,
    signal: AbortSignal | undefined,
  ): Promise<[Uint8Array, LakeSyncError?]> {
    const abort = new AbortController();
    const stop = () => abort.abort();
    signal?.addEventListener("abort", stop);
    const timer = this.#platform.timers.set(stop, this.#timeoutMs);
    try {
      const response = await this.#platform.fetch(`${this.#base}/${route}`, {
        method: body ? "POST" : "GET",
        headers: {
          authorization: `Bearer ${token}`,
          accept: PROTOBUF,
          ...(body ? { "content-type": PROTOBUF } : {}),
          ...(zipped ? { "content-encoding": "gzip" } : {}),
        },
        ...(body ? { body: body as Uint8Array<ArrayBuffer> } : {}),
        signal: abort.signal,
      });
      const answer = new Uint8Array(await response.arrayBuffer());
      return response.ok ? [answer] : [answer, errorOf(response, answer)];
    } catch (cause) {
      const code = abort.signal.aborted ? "Timeout" : "Network";
      throw new LakeSyncError(code, `The gateway did not answer ${route}: ${cause}`, {}, { cause });
    } finally {
      this.#platform.timers.clear(timer);
      signal?.removeEventListener("abort", stop);
    }
  }
}

/** Errors come as protobuf or as JSON, or, from something between us and the gateway, as anything. */
function errorOf({ status, headers }: Response, body: Uint8Array): LakeSyncError {
  const retryAfter = Number(headers.get("retry-after")) || 0;
  try {
    const error = headers.get("content-type")?.startsWith(PROTOBUF)
      ? decode(ERROR_BODY, body)
      : JSON.parse(new TextDecoder().decode(body)).error;
    return gatewayError(status, error, retryAfter);
  } catch {
    return gatewayError(status, {}, retryAfter);
  }
}
