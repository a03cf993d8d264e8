/** `lakesync/react`: React over `lakesync/client`. What fails is in a hook's `error`; nothing here rejects or throws at its caller. */
export { type Mutation, useMutation } from "./mutation.ts";
export { LakeSyncProvider, type LakeSyncProviderProps, useClient } from "./provider.ts";
export { type Statement, useQuery } from "./query.ts";
export type { QueryResult } from "./query-result.ts";
export { type SyncOverview, useSyncStatus } from "./status.ts";
