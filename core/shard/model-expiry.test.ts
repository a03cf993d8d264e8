import fc from "fast-check";
import { test } from "vitest";
import { NodeSqlStore } from "../testing/node-sqlite.ts";
import { anySchedule, CRAMPED } from "../testing/shard-world.ts";

test("[PL8] the same where change lists are dropped early: cursors expire, devices start over, nothing is missed", () => {
  fc.assert(anySchedule(new NodeSqlStore(), CRAMPED), { numRuns: 10_000 });
}, 900_000);
