/** `useMutation`: a write with its state, for forms and buttons. */
import { useCallback, useEffect, useRef, useState } from "react";
import type { LakeSyncError } from "../../schemas/index.ts";
import { asError } from "./errors.ts";

export interface Mutation<Args extends readonly unknown[], Result> {
  /** Runs the write; always the same function. Never rejects: a failure is in `error`, and the promise gives undefined. */
  readonly mutate: (...args: Args) => Promise<Result | undefined>;
  /** While one runs. */
  readonly pending: boolean;
  /** Why the last one failed on this device; what the gateway refuses later is in `useSyncStatus().rejections` (C6). */
  readonly error: LakeSyncError | undefined;
  /** Forgets the error. */
  readonly reset: () => void;
}

/**
 *   const client = useClient<typeof schema>();
 *   const add = useMutation((title: string) => client.todos.insert({ title }));
 *   <button disabled={add.pending} onClick={() => add.mutate("Buy milk")}>
 */
export function useMutation<Args extends readonly unknown[], Result>(
  write: (...args: Args) => Promise<Result> | Result,
): Mutation<Args, Result> {
  const latest = useRef(write);
  useEffect(() => {
    latest.current = write;
  });
  const [running, setRunning] = useState(0);
  const [error, setError] = useState<LakeSyncError>();
  const mutate = useCallback(async (...args: Args): Promise<Result | undefined> => {
    setRunning((n) => n + 1);
    try {
      const result = await latest.current(...args);
      setError(undefined);
      return result;
    } catch (cause) {
      setError(asError(cause));
      return undefined;
    } finally {
      setRunning((n) => n - 1);
    }
  }, []);
  const reset = useCallback(() => setError(undefined), []);
  return { mutate, pending: running > 0, error, reset };
}
