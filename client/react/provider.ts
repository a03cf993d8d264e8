/**
 * Gives a client to the components below, one that the app made or one that it opens and closes itself:
 *
 *   <LakeSyncProvider client={client}>
 *   <LakeSyncProvider options={{ name: "my-app", schema, url, gatewayId, token }} fallback={<Splash />}>
 *
 * `options` are read once; give the provider a `key` (the user's id) to open another database.
 */
import {
  createContext,
  createElement,
  type FunctionComponentElement,
  type ProviderProps,
  type ReactNode,
  useContext,
  useState,
  useSyncExternalStore,
} from "react";
import type { LakeSyncError } from "../../schemas/index.ts";
import type { Schema } from "../typed/columns.ts";
import type { Client, ClientBase, ClientOptions } from "../typed/create-client.ts";
import { Opening } from "./opening.ts";

/** What the hooks need of a client, whatever its schema. */
type AnyClient = Pick<ClientBase<Schema>, "db" | "sync">;

interface Given<S extends Schema> {
  readonly client: Client<S>;
  readonly children?: ReactNode;
}

interface Opened<S extends Schema> {
  readonly options: ClientOptions<S>;
  /** Shown until the database is open. */
  readonly fallback?: ReactNode;
  /** Shown when it cannot be opened; left out, the error is thrown to the nearest error boundary. */
  readonly failed?: (error: LakeSyncError, retry: () => void) => ReactNode;
  readonly children?: ReactNode;
}

export type LakeSyncProviderProps<S extends Schema> = Given<S> | Opened<S>;

const ClientContext = createContext<AnyClient | undefined>(undefined);

export function LakeSyncProvider<S extends Schema>(props: LakeSyncProviderProps<S>): ReactNode {
  if ("options" in props) return createElement(OpeningProvider<S>, props);
  return provide(props.client, props.children);
}

function OpeningProvider<S extends Schema>({ options, fallback, failed, children }: Opened<S>): ReactNode {
  const [opening] = useState(() => new Opening(options));
  const { client, error } = useSyncExternalStore(opening.subscribe, opening.snapshot, opening.snapshot);
  if (client) return provide(client, children);
  if (!error) return fallback;
  if (!failed) throw error;
  return failed(error, opening.retry);
}

const provide = (
  value: AnyClient,
  children: ReactNode,
): FunctionComponentElement<ProviderProps<AnyClient | undefined>> =>
  createElement(ClientContext.Provider, { value }, children);

/** The client of the nearest provider; name its schema to have its tables: `useClient<typeof schema>()`. */
export function useClient<S extends Schema = Schema>(): Client<S> {
  const client = useContext(ClientContext);
  if (client) return client as Client<S>;
  throw new Error("There is no LakeSyncProvider above this component; wrap the app in one.");
}
