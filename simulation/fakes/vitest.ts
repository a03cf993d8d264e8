/** Stands in for `vitest` where nothing is tested: suites that are behind a door and not run. */
const none = (): never => {
  throw new Error("A simulation runs no suites.");
};

export {
  none as afterAll,
  none as afterEach,
  none as beforeAll,
  none as beforeEach,
  none as describe,
  none as expect,
  none as onTestFinished,
  none as test,
};
