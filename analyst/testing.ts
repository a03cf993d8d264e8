/** The contract of SQL engines, for tests. */
export { engineContract } from "./testing/engine-contract.ts";
