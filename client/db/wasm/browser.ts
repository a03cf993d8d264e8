/** What the client uses of a browser beyond what Node and Workers also have, typed as narrowly as it is used. */

interface Request<T> {
  result: T;
  error: unknown;
  onsuccess: (() => void) | null;
  onerror: (() => void) | null;
}

interface IdbStore {
  get(key: unknown): Request<unknown>;
  getAll(range: unknown): Request<unknown[]>;
  getAllKeys(range: unknown): Request<unknown[]>;
  put(value: unknown, key: unknown): Request<unknown>;
  delete(key: unknown): Request<unknown>;
}

interface IdbTransaction {
  objectStore(name: string): IdbStore;
  oncomplete: (() => void) | null;
  onabort: (() => void) | null;
  readonly error: { readonly name: string; readonly message: string } | null;
}

export interface IdbDatabase {
  createObjectStore(name: string): void;
  transaction(stores: string[], mode: "readonly" | "readwrite", options?: { durability: string }): IdbTransaction;
  close(): void;
}

interface OpenRequest extends Request<IdbDatabase> {
  onupgradeneeded: (() => void) | null;
}

export interface Port {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
}

export interface WorkerLike extends Port {
  addEventListener(type: "message" | "error", listener: (event: { readonly data: unknown }) => void): void;
  terminate(): void;
}

/** https://developer.mozilla.org/docs/Web/API/LockManager */
export interface Locks {
  request(name: string, options: object, held: () => Promise<unknown>): Promise<unknown>;
}

interface Browser {
  readonly BroadcastChannel: new (name: string) => Port & { close(): void };
  readonly indexedDB: { open(name: string, version: number): OpenRequest };
  readonly IDBKeyRange: { bound(low: unknown, high: unknown): unknown };
  readonly navigator: {
    readonly locks?: Locks;
    readonly storage?: { getDirectory?(): Promise<unknown>; persist?(): Promise<boolean> };
  };
}

export const browser = globalThis as unknown as Browser;

export const result = <T>(request: Request<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
