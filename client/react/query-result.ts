/** What `useQuery` gives. */
import type { LakeSyncError } from "../../schemas/index.ts";

export interface QueryResult<T> {
  /** Of the last run that went well. The same array, and the same objects in it, as long as they did not change. */
  readonly rows: readonly T[];
  /** Until the first rows are there. After a change of parameters the rows before stay, with `loading` true. */
  readonly loading: boolean;
  /** Why the last run failed; the next commit that touches the query's tables runs it again. */
  readonly error: LakeSyncError | undefined;
}

export const LOADING: QueryResult<never> = { rows: [], loading: true, error: undefined };
