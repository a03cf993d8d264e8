/**
 * A client that is open as long as somebody listens. Opening and closing of one database come one after the other, so
 * that StrictMode's second mount, and an app that switches between users, never meet a file that is still held.
 */
import type { LakeSyncError } from "../../schemas/index.ts";
import type { Schema } from "../typed/columns.ts";
import { type Client, type ClientOptions, createClient } from "../typed/create-client.ts";
import { asError } from "./errors.ts";

interface State<S extends Schema> {
  readonly client?: Client<S>;
  readonly error?: LakeSyncError;
}

/** The last opening or closing of each database, by its name. */
const turns = new Map<string, Promise<void>>();

export class Opening<S extends Schema> {
  readonly #options: ClientOptions<S>;
  readonly #listeners = new Set<() => void>();
  #state: State<S> = {};

  constructor(options: ClientOptions<S>) {
    this.#options = options;
  }

  readonly snapshot = (): State<S> => this.#state;

  readonly subscribe = (onChange: () => void): (() => void) => {
    this.#listeners.add(onChange);
    this.#settleLater();
    return () => {
      this.#listeners.delete(onChange);
      this.#settleLater();
    };
  };

  readonly retry = (): void => {
    this.#set({});
    this.#settleLater();
  };

  #settleLater(): void {
    const { name } = this.#options;
    turns.set(name, (turns.get(name) ?? Promise.resolve()).then(this.#settle));
  }

  /** Opens what is wanted, closes what is not. */
  readonly #settle = async (): Promise<void> => {
    const wanted = this.#listeners.size > 0;
    const { client, error } = this.#state;
    try {
      if (wanted && !client && !error) this.#set({ client: await createClient(this.#options) });
      if (wanted) return;
      this.#set({});
      await client?.close();
    } catch (cause) {
      this.#set(wanted ? { error: asError(cause) } : {});
    }
  };

  #set(state: State<S>): void {
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}
