import { expect, test } from "vitest";
import {
  EXPIRE_EVERY_MS,
  FOLLOW_AGAIN_MS,
  MAINTENANCE_EVERY_MS,
  MAINTENANCE_FLUSHES,
  MAINTENANCE_LEASE_MS,
} from "../schemas/index.ts";
import { dutyOf, followDuty, GatewayRegistry, MaintenanceLedger, tiersDuty } from "./maintenance.ts";
import { NodeSqlStore } from "./testing/node-sqlite.ts";

const NOW = 1_795_000_000_000;
const DONE = { ok: true, more: false };
const ALL = { expire: true, orphans: true };

function flushes(ledger: MaintenanceLedger, count: number, table = "todos"): string[] {
  return Array.from({ length: count }, () => ledger.flushed([table], NOW)).flat();
}

test("a table is due after so many flushes, once, and again after that many more", () => {
  const ledger = new MaintenanceLedger(new NodeSqlStore());
  expect(flushes(ledger, MAINTENANCE_FLUSHES - 1)).toEqual([]);
  expect(ledger.flushed(["todos", "notes"], NOW)).toEqual(["todos"]);
  expect(flushes(ledger, 5)).toEqual([]);
  expect(ledger.lease("todos", "t1", NOW)).toEqual(ALL);
  expect(flushes(ledger, 3)).toEqual([]); // while it runs
  ledger.settle("todos", "t1", DONE, ALL, NOW);
  expect(ledger.status(NOW).find(({ table }) => table === "todos")).toEqual({
    table: "todos",
    flushes: 3,
    running: false,
    lastMs: NOW,
    lastExpiryMs: NOW,
    lastOrphansMs: NOW,
    report: DONE,
  });
  expect(flushes(ledger, MAINTENANCE_FLUSHES - 3)).toEqual(["todos"]);
});

test("a message that got lost is sent again after a while", () => {
  const ledger = new MaintenanceLedger(new NodeSqlStore());
  expect(flushes(ledger, MAINTENANCE_FLUSHES)).toEqual(["todos"]);
  expect(ledger.due(NOW + MAINTENANCE_LEASE_MS - 1)).toEqual([]);
  expect(ledger.due(NOW + MAINTENANCE_LEASE_MS)).toEqual(["todos"]);
});

test("one run at a time: a lease is over when it is given back, or after a while", () => {
  const ledger = new MaintenanceLedger(new NodeSqlStore());
  expect(ledger.lease("todos", "t1", NOW)).toEqual(ALL);
  expect(ledger.lease("todos", "t2", NOW + 1)).toBeUndefined();
  expect(ledger.lease("notes", "t3", NOW + 1)).toEqual(ALL);
  const later = NOW + MAINTENANCE_LEASE_MS;
  expect(ledger.lease("todos", "t4", later)).toEqual(ALL);
  ledger.settle("todos", "t1", { ...DONE, late: true }, ALL, later);
  expect(ledger.status(later)).toMatchObject([{ table: "notes" }, { table: "todos", running: true, lastMs: 0 }]);
  ledger.settle("todos", "t4", DONE, ALL, later);
  expect(ledger.lease("todos", "t5", later)).toEqual({ expire: false, orphans: false });
});

test("time makes a table due: with flushes soon, without them for expiry and orphans; what failed stays due", () => {
  const ledger = new MaintenanceLedger(new NodeSqlStore());
  const run = (report: { ok: boolean; more: boolean }, nowMs: number) => {
    const duties = ledger.lease("todos", "t", nowMs);
    ledger.settle("todos", "t", report, duties ?? ALL, nowMs);
  };
  run(DONE, NOW);
  expect(ledger.due(NOW + MAINTENANCE_EVERY_MS)).toEqual([]);
  ledger.flushed(["todos"], NOW);
  expect(ledger.due(NOW + MAINTENANCE_EVERY_MS)).toEqual(["todos"]);
  run({ ok: false, more: false }, NOW + MAINTENANCE_EVERY_MS);
  expect(ledger.status(NOW)[0]).toMatchObject({ flushes: 1, lastExpiryMs: NOW });
  expect(ledger.due(NOW + 2 * MAINTENANCE_EVERY_MS)).toEqual(["todos"]);
  run(DONE, NOW + 2 * MAINTENANCE_EVERY_MS);
  expect(ledger.due(NOW + EXPIRE_EVERY_MS - 1)).toEqual([]);
  expect(ledger.due(NOW + EXPIRE_EVERY_MS)).toEqual(["todos"]);
});

test("every gateway gets its turn, those that waited longest first", () => {
  const registry = new GatewayRegistry(new NodeSqlStore());
  for (const gateway of ["a", "b", "c", "a"]) registry.register(gateway);
  expect(registry.due(NOW, 2)).toEqual(["a", "b"]);
  expect(registry.due(NOW + 1, 2)).toEqual(["c"]);
  expect(registry.due(NOW + 2, 2)).toEqual([]);
  expect(registry.due(NOW + MAINTENANCE_EVERY_MS, 5)).toEqual(["a", "b"]);
  expect(registry.due(NOW + MAINTENANCE_EVERY_MS + 1, 5)).toEqual(["c"]);
});

test("[F2] secondaries are due after each flush, and again when one came meanwhile; one that failed is left alone for a while", () => {
  const ledger = new MaintenanceLedger(new NodeSqlStore());
  const duty = followDuty("orders");
  expect(ledger.flushed([duty], NOW)).toEqual([duty]);
  expect(ledger.flushed([duty], NOW)).toEqual([]); // it was sent for
  expect(ledger.lease(duty, "t1", NOW)).toBeDefined();
  ledger.flushed([duty], NOW);
  expect(ledger.settle(duty, "t1", DONE, ALL, NOW)).toBe(true);
  ledger.lease(duty, "t2", NOW);
  expect(ledger.settle(duty, "t2", { ...DONE, ok: false }, ALL, NOW)).toBe(false);
  expect(ledger.flushed([duty], NOW + FOLLOW_AGAIN_MS - 1)).toEqual([]);
  expect(ledger.due(NOW + FOLLOW_AGAIN_MS)).toEqual([duty]);
  ledger.lease(duty, "t3", NOW + FOLLOW_AGAIN_MS);
  expect(ledger.settle(duty, "t3", DONE, ALL, NOW + FOLLOW_AGAIN_MS)).toBe(false);
  expect(ledger.status(NOW).find(({ table }) => table === duty)).toMatchObject({ flushes: 0 });
  expect(dutyOf(duty)).toEqual({ kind: "follow", of: "orders" });
  expect(dutyOf("orders")).toEqual({ kind: "lake", of: "orders" });
});

test("tiers are due by time alone, whether or not anything was flushed", () => {
  const ledger = new MaintenanceLedger(new NodeSqlStore());
  const duty = tiersDuty("events");
  expect(ledger.due(NOW)).toEqual([]);
  expect(ledger.due(NOW, [duty])).toEqual([duty]);
  ledger.settle(duty, String(ledger.lease(duty, "t", NOW) && "t"), DONE, ALL, NOW);
  expect(ledger.due(NOW + MAINTENANCE_EVERY_MS / 2 - 1, [duty])).toEqual([]);
  expect(ledger.due(NOW + MAINTENANCE_EVERY_MS / 2, [duty])).toEqual([duty]);
});

test("a gateway's turn may be hurried, and never put off", () => {
  const registry = new GatewayRegistry(new NodeSqlStore());
  registry.register("demo");
  expect(registry.due(NOW, 10)).toEqual(["demo"]);
  registry.hurry("demo", NOW + 2 * MAINTENANCE_EVERY_MS);
  registry.hurry("nobody", NOW);
  expect(registry.due(NOW + FOLLOW_AGAIN_MS, 10)).toEqual([]);
  registry.hurry("demo", NOW + FOLLOW_AGAIN_MS);
  expect(registry.due(NOW + FOLLOW_AGAIN_MS, 10)).toEqual(["demo"]);
});
