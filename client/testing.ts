/** What tests of the client need: a gateway in the process, a bad network, virtual time. */
import { NodeSqlStore } from "../core/testing.ts";
import { type Tables, TestGateway, type TestGatewayOptions } from "./testing/gateway.ts";

export type { Locks, Port, WorkerLike } from "./db/wasm/browser.ts";
export { openWorkerDriver } from "./db/wasm/remote.ts";
export { runTab } from "./db/wasm/tab.ts";
export { type Faults, flaky } from "./testing/flaky.ts";
export { OPEN_RULES, TestGateway } from "./testing/gateway.ts";
export { MemoryOpfs } from "./testing/opfs.ts";
export { settled, TestWorld } from "./testing/platform.ts";

export const testGateway = (tables: Tables, options?: TestGatewayOptions): TestGateway =>
  new TestGateway(new NodeSqlStore(), tables, options);
