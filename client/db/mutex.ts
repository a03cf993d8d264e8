/** One at a time, in the order of asking; at once when nobody is before. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  run<T>(body: () => Promise<T>): Promise<T> {
    const turn = this.#waiting++ === 0 ? body() : this.#tail.then(body);
    const done = () => {
      this.#waiting--;
    };
    this.#tail = turn.then(done, done);
    return turn;
  }
}
