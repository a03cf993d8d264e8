import fc from "fast-check";
import { test } from "vitest";
import { NodeSqlStore } from "../testing/node-sqlite.ts";
import { anySchedule, ROOMY } from "../testing/shard-world.ts";

test("[PL4] [PL5] [PU2] [F1] devices, history and lake follow any schedule of pushes, pulls, rules and flushes", () => {
  fc.assert(anySchedule(new NodeSqlStore(), ROOMY), { numRuns: 10_000 });
}, 900_000);
