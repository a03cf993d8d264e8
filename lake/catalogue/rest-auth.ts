/**
 * Who a catalogue client says it is: nobody, a bearer token, or the OAuth 2 client credentials flow (RFC 6749, section 4.4)
 * as the REST specification has it (getToken), with tokens renewed before they expire and again after a 401.
 */
import type { Clock } from "../../core/index.ts";
import { err, LakeSyncError, ok } from "../../schemas/index.ts";
import type { Answer } from "./server.ts";

export type RestAuth =
  | { readonly type: "none" }
  /** A token, or a function that gives one at each call and keeps it fresh itself. */
  | { readonly type: "bearer"; readonly token: string | (() => Promise<string>) }
  | {
      readonly type: "oauth2";
      readonly clientId: string;
      readonly clientSecret: string;
      /** Where tokens are issued; the catalogue's own /v1/oauth/tokens when left out. */
      readonly tokenUri?: string;
      /** "catalog" when left out, as other clients do. */
      readonly scope?: string;
    };

export interface Tokens {
  /** The Authorization header for the next request, undefined for none. */
  header(): Answer<string | undefined>;
  /** Called after a 401: whether another try with a new token makes sense. */
  forget(): boolean;
}

export interface TokenContext {
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** The catalogue's own token endpoint. */
  readonly ownTokenUri: string;
}

/** A token is renewed this long before it expires, so that it does not expire on its way. Milliseconds. */
const RENEW_AHEAD_MS = 60_000;

export function tokensOf(auth: RestAuth, context: TokenContext): Tokens {
  if (auth.type === "oauth2") return new ClientCredentials(auth, context);
  return {
    async header() {
      if (auth.type === "none") return ok(undefined);
      return ok(`Bearer ${typeof auth.token === "string" ? auth.token : await auth.token()}`);
    },
    forget: () => auth.type === "bearer" && typeof auth.token === "function",
  };
}

class ClientCredentials implements Tokens {
  readonly #auth: Extract<RestAuth, { type: "oauth2" }>;
  readonly #context: TokenContext;
  #token: { readonly header: string; readonly renewAtMs: number } | undefined;
  /** One request for a token at a time, however many wait for it. */
  #asking: Answer<string> | undefined;

  constructor(auth: Extract<RestAuth, { type: "oauth2" }>, context: TokenContext) {
    this.#auth = auth;
    this.#context = context;
  }

  async header(): Answer<string | undefined> {
    if (this.#token !== undefined && this.#context.clock.now() < this.#token.renewAtMs) return ok(this.#token.header);
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  forget(): boolean {
    this.#token = undefined;
    return true;
  }

  async #ask(): Answer<string> {
    const { clientId, clientSecret, scope = "catalog", tokenUri = this.#context.ownTokenUri } = this.#auth;
    const form = { grant_type: "client_credentials", client_id: clientId, client_secret: clientSecret, scope };
    try {
      const response = await this.#context.fetch(tokenUri, {
        method: "POST",
        headers: { "Content-Type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams(form).toString(),
        signal: AbortSignal.timeout(this.#context.timeoutMs),
      });
      const answer = (await response.json().catch(() => ({}))) as { access_token?: unknown; expires_in?: unknown };
      if (!response.ok || typeof answer.access_token !== "string") {
        const code = response.status >= 500 ? "DestinationUnavailable" : "Unauthenticated";
        return err(
          new LakeSyncError(code, `The token endpoint answered ${response.status}: check the client's id and secret.`),
        );
      }
      const lifeMs = typeof answer.expires_in === "number" ? answer.expires_in * 1000 : Number.POSITIVE_INFINITY;
      const header = `Bearer ${answer.access_token}`;
      // A token that lives shorter than the margin is renewed at half its life.
      const renewAtMs = this.#context.clock.now() + Math.max(lifeMs - RENEW_AHEAD_MS, lifeMs / 2);
      this.#token = { header, renewAtMs };
      return ok(header);
    } catch (cause) {
      return err(new LakeSyncError("DestinationUnavailable", "The token endpoint cannot be reached.", {}, { cause }));
    }
  }
}
