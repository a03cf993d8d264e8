/** One at a time, in the order of asking. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Nobody holds it, nobody waits. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  run<T>(body: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const turn = this.#tail.then(body, body).finally(() => this.#waiting--);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }
}
