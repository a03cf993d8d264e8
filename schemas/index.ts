/** Every shape that crosses a boundary. No I/O. */
export * from "./attempt.ts";
export * from "./chunk.ts";
export * from "./config.ts";
export * from "./delta.ts";
export * from "./errors.ts";
export * from "./gateway-config.ts";
export * as proto from "./gen/lakesync_pb.js";
export * from "./hlc.ts";
export * from "./ids.ts";
export * from "./limits.ts";
export * from "./packed-batch.ts";
export * from "./result.ts";
export * from "./rules.ts";
export { type SourceConfig, sourceTable } from "./source.ts";
export * from "./table.ts";
export * from "./value.ts";
export * from "./wire.ts";
