import type { DatabaseAdapter } from "../core/index.ts";
import type { Env } from "../durable-objects/index.ts";
export function destinationFor(_env: Env, _gatewayId: string): DatabaseAdapter {
  throw new Error("not yet");
}
