/** Keeps every worker that a page starts, for tests that end one as a browser does when it kills a tab. */
import { afterAll, beforeAll } from "vitest";

interface Ended {
  terminate(): void;
}

const page = globalThis as unknown as { Worker: new (url: string | URL, options?: object) => Ended };

/** To be called at the top of a test file. @returns the workers so far, in order */
export function recordWorkers(): readonly Ended[] {
  const RealWorker = page.Worker;
  const workers: Ended[] = [];
  beforeAll(() => {
    page.Worker = class extends RealWorker {
      constructor(url: string | URL, options?: object) {
        super(url, options);
        workers.push(this);
      }
    };
  });
  afterAll(() => {
    page.Worker = RealWorker;
  });
  return workers;
}
