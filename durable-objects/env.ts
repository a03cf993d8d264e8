/** Bindings of the gateway's Worker; `wrangler.toml` declares them. */
import type { LakeSyncConfig } from "../schemas/index.ts";
import type { Catalogue } from "./catalogue/index.ts";
import type { Hub } from "./hub/index.ts";
import type { Shard } from "./shard/index.ts";
import type { Tenant } from "./tenant/index.ts";

export interface Env {
  readonly TENANT: DurableObjectNamespace<Tenant>;
  readonly SHARD: DurableObjectNamespace<Shard>;
  readonly HUB: DurableObjectNamespace<Hub>;
  readonly CATALOGUE: DurableObjectNamespace<Catalogue>;
  /** The lake: data, metadata and checkpoints. */
  readonly LAKE: R2Bucket;
  readonly FLUSH_QUEUE: Queue<FlushMessage | FeedMessage>;
  readonly MAINTENANCE_QUEUE: Queue<MaintenanceMessage>;
  /** Secret of HS256 tokens. One of this and JWKS_URL has to be set. */
  readonly JWT_SECRET?: string;
  /** Where public keys of RS256, ES256 and EdDSA tokens are published. */
  readonly JWKS_URL?: string;
  /** Comma-separated algorithms; by default HS256 with a secret, RS256, ES256 and EdDSA with a JWKS. */
  readonly JWT_ALGORITHMS?: string;
  /** Expected `iss` and `aud`; not looked at when absent. */
  readonly JWT_ISSUER?: string;
  readonly JWT_AUDIENCE?: string;
  /** Comma-separated origins that browsers may call from; none by default. */
  readonly CORS_ORIGINS?: string;
  /** "error" leaves out the lines that requests and flushes write when all is well. */
  readonly LOG_LEVEL?: string;
  /** How other engines name the lake's bucket, for locations in Iceberg metadata: `s3://lakesync-lake`. */
  readonly LAKE_LOCATION?: string;
  /** Another Iceberg REST catalogue for the lake, and how to sign in there (worker/catalogue.ts). */
  readonly CATALOGUE_URI?: string;
  readonly CATALOGUE_WAREHOUSE?: string;
  readonly CATALOGUE_TOKEN?: string;
  readonly CATALOGUE_CLIENT_ID?: string;
  readonly CATALOGUE_CLIENT_SECRET?: string;
  readonly CATALOGUE_SCOPE?: string;
  readonly CATALOGUE_TOKEN_URI?: string;
  /** What credentials of the S3 endpoint are made with; JWT_SECRET by default, so needed with JWKS_URL only. */
  readonly LAKE_CREDENTIALS_SECRET?: string;
  /** Where engines reach the gateway, if that is not the address that it sees: behind a proxy, `https://lake.example`. */
  readonly PUBLIC_URL?: string;
  /** Age of the oldest unflushed delta at which a flush is asked for, milliseconds (F4). */
  readonly FLUSH_AGE_MS?: string;
  /** Edits that have become older than a hot window before rows leave their shard (decision 0052). */
  readonly HOT_LEAVE_EDITS?: string;
  /** "on" where bindings are passed on to Postgres as they are: new rows go by COPY, which Hyperdrive may not know. */
  readonly POSTGRES_COPY?: string;
  /** Backends and which tables go there, instead of those that the Worker was made with: `lakesync.config.ts`, or its JSON. */
  readonly LAKESYNC_CONFIG?: LakeSyncConfig | string;
  /** The adapter object of the process that runs this Worker (adapters/remote/messages.ts). */
  readonly ADAPTER?: Fetcher;
}

/** A hint that a shard has something to flush; the truth is the shard's log (decision 12). */
export interface FlushMessage {
  readonly gatewayId: string;
  readonly shard: string;
}

/** A hint that databases may keep edits of a gateway's tables; the truth is what they keep. */
export interface FeedMessage {
  readonly gatewayId: string;
  readonly feeds: true;
}

/** A hint that a table's lake, or a shard's checkpoint, is due for maintenance; the truth is the tenant's ledger. */
export interface MaintenanceMessage {
  readonly gatewayId: string;
  /** As the ledger names it. */
  readonly duty: string;
}

/** How locations name the lake's bucket. */
export const lakeLocation = (env: Pick<Env, "LAKE_LOCATION">): string => env.LAKE_LOCATION ?? "s3://lakesync-lake";
