/**
 * Everything wired in one call: database, transport, automatic sync, and a typed table for each table of the schema.
 *
 *   const client = await createClient({ name: "my-app", schema, url, gatewayId, token });
 *   await client.todos.insert({ title: "Buy milk" });
 */
import { LocalDB, type LocalDBOptions } from "../db/local-db.ts";
import { defaultPlatform } from "../platform.ts";
import { SyncCoordinator, type SyncOptions } from "../sync/coordinator.ts";
import type { TokenSource, Transport } from "../transport/port.ts";
import { WebSocketTransport } from "../transport/websocket.ts";
import type { Schema } from "./columns.ts";
import { Table } from "./table.ts";

export interface ClientOptions<S extends Schema> extends Omit<LocalDBOptions, "schema"> {
  readonly schema: S;
  /** Origin of the gateway. */
  readonly url: string;
  readonly gatewayId: string;
  readonly token: TokenSource;
  /** Sync from the start. Default true; otherwise call `client.sync.startAutoSync()`. */
  readonly autoSync?: boolean;
  /** `tables` are the schema's, unless it says others; an empty list asks for all. */
  readonly sync?: SyncOptions;
  /** Instead of a WebSocket with HTTP to fall back on. */
  readonly transport?: Transport;
}

export interface ClientBase<S extends Schema> {
  readonly db: LocalDB;
  readonly sync: SyncCoordinator;
  /** Every table, also those whose name something else here has. */
  readonly tables: { readonly [Name in keyof S]: Table<S[Name]> };
  /** Ends sync and closes the database. What waits in the outbox goes out next time. */
  close(): Promise<void>;
}

export type Client<S extends Schema> = ClientBase<S> & {
  readonly [Name in Exclude<keyof S, keyof ClientBase<S>>]: Table<S[Name]>;
};

/** @throws LakeSyncError as `LocalDB.open` does; the network is not needed */
export async function createClient<S extends Schema>(options: ClientOptions<S>): Promise<Client<S>> {
  const { schema, url: baseUrl, gatewayId, token, autoSync = true, platform = defaultPlatform() } = options;
  const transport = options.transport ?? new WebSocketTransport({ baseUrl, gatewayId, token, platform });
  const db = await LocalDB.open({ ...options, platform });
  const sync = new SyncCoordinator(db, transport, { tables: Object.keys(schema), ...options.sync });
  const tables = Object.fromEntries(Object.keys(schema).map((name) => [name, new Table(name, db, sync.tracker)]));
  if (autoSync) sync.startAutoSync();
  const close = async () => {
    sync.stopAutoSync();
    await db.close();
  };
  return { ...tables, db, sync, tables, close } as unknown as Client<S>;
}
