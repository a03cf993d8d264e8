import { expect, test } from "vitest";
import { packHlc } from "../../schemas/index.ts";
import { LocalDB } from "../db/local-db.ts";
import { learnOffset } from "./device-clock.ts";

const NOON = 1_795_000_000_000;

test("[H3] an offset is learnt from an answer, but a slow answer does not pass for a clock that is off", async () => {
  const db = await LocalDB.open({ name: "clock", backend: "memory" });
  const offsetAfter = (serverMs: number, askedMs: number, answeredMs: number) =>
    db.transaction(async (tx) => {
      await learnOffset(tx, packHlc(serverMs, 0), askedMs, answeredMs);
      return Number((await tx.getMeta("offset")) ?? 0);
    });
  expect(await offsetAfter(NOON + 1000, NOON, NOON + 60_000)).toBe(0);
  expect(await offsetAfter(NOON + 59_000, NOON, NOON + 60_000)).toBe(0);
  expect(await offsetAfter(NOON + 3_600_000, NOON, NOON + 200)).toBe(3_599_900);
  expect(await offsetAfter(NOON + 100, NOON, NOON + 200)).toBe(0);
  await db.close();
});
