/**
 * Something that can die: a device, an isolate of the Worker, a Durable Object's instance, a consumer. JavaScript that runs
 * cannot be stopped, so a dead process is cut off instead: its timers do not fire, what it asks is never answered.
 */
export class Process {
  readonly name: string;
  #alive = true;
  readonly #onDeath: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  get alive(): boolean {
    return this.#alive;
  }

  onDeath(run: () => void): void {
    this.#onDeath.push(run);
  }

  die(): void {
    if (!this.#alive) return;
    this.#alive = false;
    for (const run of this.#onDeath.splice(0)) run();
  }
}

/** What a dead process waits for. */
export const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
