/**
 * Values that follow something outside of React, for `useSyncExternalStore`. Components that ask for the same thing share
 * one source, so that no two of them show different moments of it.
 *
 *   first subscriber   -> the source starts
 *   last one leaves    -> it ends, a microtask later: StrictMode's unmount and mount, and a new component that takes over
 *                         from an old one, find it running
 */

export interface Shared<T> {
  readonly subscribe: (onChange: () => void) => () => void;
  readonly snapshot: () => T;
}

/** Starts a source. @param set takes each new value @returns a function that ends it */
export type Start<T> = (set: (update: (held: T) => T) => void) => () => void;

interface Source {
  value: unknown;
  readonly listeners: Set<() => void>;
  end(): void;
}

const sources = new WeakMap<object, Map<string, Source>>();

/**
 * @param owner what the source reads from: sources live no longer than it
 * @param key names the source among those of its owner
 * @param initial the value until the source gives one; the same object at each call
 */
export function shared<T>(owner: object, key: string, initial: T, start: Start<T>): Shared<T> {
  const running = sources.get(owner) ?? new Map<string, Source>();
  sources.set(owner, running);
  return {
    snapshot: () => (running.get(key)?.value ?? initial) as T,
    subscribe: (onChange) => {
      let source = running.get(key);
      if (!source) {
        const started: Source = { value: initial, listeners: new Set(), end: () => undefined };
        source = started;
        running.set(key, started);
        started.end = start((update) => {
          const value = update(started.value as T);
          if (value === started.value) return;
          started.value = value;
          for (const listener of started.listeners) listener();
        });
      }
      const { listeners } = source;
      listeners.add(onChange);
      return () => {
        listeners.delete(onChange);
        queueMicrotask(() => {
          if (listeners.size > 0 || running.get(key)?.listeners !== listeners) return;
          running.get(key)?.end();
          running.delete(key);
        });
      };
    },
  };
}
