/** Who may write what: the row before and after, the dead, and what attackers try. */
import { expect, test } from "vitest";
import { ADMIN, Device, edit, push, shardOf, user } from "../testing/shard-kit.ts";

const codes = (outcome: { rejected: readonly { code: string }[] }) => outcome.rejected.map((r) => r.code);
const alice = user("alice");
const mallory = user("mallory");

/** A project's members see its rows; who owns a row may write it. */
const OWNER_WRITES = {
  rules: {
    buckets: [
      {
        name: "project",
        tables: ["todos"],
        filters: [{ column: "priority", op: "in" as const, value: "jwt:projects" }],
        write: [{ column: "user_id", op: "eq" as const, value: "jwt:sub" }],
      },
    ],
  },
};

test("[PU3] the owner of a dead row may edit it late and delete it again, where write rules name other columns than filters", () => {
  const shard = shardOf(OWNER_WRITES);
  push(shard, alice, [edit("INSERT", "a", 1, { user_id: "alice", priority: 1 }), edit("DELETE", "a", 5)]);
  expect(codes(push(shard, alice, [edit("DELETE", "a", 5), edit("UPDATE", "a", 3, { title: "late" })]))).toEqual([]);
  expect(codes(push(shard, mallory, [edit("UPDATE", "a", 9, { title: "mine" })]))).toEqual(["WriteForbidden"]);
});

test("[PU3] what a ghost holds does not go to who revives the row: its cells are judged too", () => {
  const shard = shardOf();
  push(shard, alice, [edit("INSERT", "a", 1, { user_id: "alice" }), edit("DELETE", "a", 5)]);
  // Alice's other device was offline and knew nothing of the delete.
  expect(codes(push(shard, alice, [edit("UPDATE", "a", 7, { title: "secret" })], "c-alice-2"))).toEqual([]);
  expect(codes(push(shard, mallory, [edit("INSERT", "a", 9, { user_id: "mallory" })]))).toEqual(["WriteForbidden"]);
  const device = new Device(mallory);
  device.pullAll(shard);
  expect(device.rows.size).toBe(0);
});

test("[PU3] a ghost of a row that never was is its writer's too", () => {
  const shard = shardOf();
  push(shard, alice, [edit("UPDATE", "a", 7, { user_id: "alice", title: "secret" })]);
  const taking = [edit("INSERT", "a", 9, { user_id: "mallory" }), edit("UPDATE", "a", 9, { user_id: "mallory" })];
  expect(codes(push(shard, mallory, taking))).toEqual(["WriteForbidden", "WriteForbidden"]);
  expect(codes(push(shard, alice, [edit("INSERT", "a", 6, { title: "first" })]))).toEqual([]);
  const device = new Device(alice);
  device.pullAll(shard);
  expect(device.cell("todos/a", "title")).toBe("secret");
});

test("[PU3] the id of a row that is dead and empty is free again", () => {
  const shard = shardOf();
  push(shard, alice, [edit("INSERT", "a", 1, { user_id: "alice", title: "secret" }), edit("DELETE", "a", 5)]);
  expect(codes(push(shard, mallory, [edit("INSERT", "a", 9, { user_id: "mallory" })]))).toEqual([]);
  const device = new Device(mallory);
  device.pullAll(shard);
  expect(device.alive.get("todos/a")).toMatchObject({ user_id: { value: "mallory" } });
  expect(device.cell("todos/a", "title")).toBeUndefined();
  expect(codes(push(shard, alice, [edit("UPDATE", "a", 11, { user_id: "alice" })]))).toEqual(["WriteForbidden"]);
});

test("[PU3] nobody takes over, edits, deletes or revives the rows of others", () => {
  const shard = shardOf();
  push(shard, alice, [edit("INSERT", "a", 1, { user_id: "alice", title: "mine" })]);
  const attempts = [
    edit("UPDATE", "a", 9, { user_id: "mallory" }),
    edit("UPDATE", "a", 9, { title: "yours" }),
    edit("INSERT", "a", 9, { user_id: "mallory", title: "yours" }),
    edit("DELETE", "a", 9),
    edit("DELETE", "nothing", 9),
    edit("UPDATE", "nothing", 9, { title: "guess" }),
    edit("INSERT", "b", 9, { user_id: "alice", title: "in her name" }),
    edit("INSERT", "c", 9, { title: "nobody's" }),
  ];
  const refused = push(shard, mallory, attempts);
  expect(codes(refused)).toEqual(attempts.map(() => "WriteForbidden"));
  // The row that is there and the one that is not get the same answer, word by word.
  expect(refused.rejected[3]?.message).toBe(refused.rejected[4]?.message);
  push(shard, alice, [edit("DELETE", "a", 20)]);
  const onDead = [edit("UPDATE", "a", 30, { title: "ghost" }), edit("DELETE", "a", 30)];
  expect(codes(push(shard, mallory, onDead))).toEqual(["WriteForbidden", "WriteForbidden"]);
  const admin = new Device(ADMIN);
  admin.pullAll(shard);
  expect(admin.alive.size).toBe(0);
  expect(shard.head).toBe(2);
});

test("[PU3] giving a row away is a change after which its writer may not write it: refused unless rules say so", () => {
  const shard = shardOf();
  push(shard, alice, [edit("INSERT", "a", 1, { user_id: "alice" })]);
  expect(codes(push(shard, alice, [edit("UPDATE", "a", 2, { user_id: "bob" })]))).toEqual(["WriteForbidden"]);
  expect(codes(push(shard, ADMIN, [edit("UPDATE", "a", 3, { user_id: "bob" })]))).toEqual([]);
  expect(codes(push(shard, alice, [edit("UPDATE", "a", 4, { title: "still mine?" })]))).toEqual(["WriteForbidden"]);
  expect(codes(push(shard, user("bob"), [edit("UPDATE", "a", 4, { title: "mine" })]))).toEqual([]);
});

test("[PU3] a row prepared by an edit from the future is not handed to its preparer", () => {
  const shard = shardOf();
  push(shard, mallory, [edit("UPDATE", "a", 50_000, { user_id: "mallory", title: "bait" })]);
  expect(codes(push(shard, alice, [edit("INSERT", "a", 1, { user_id: "alice", title: "secret" })]))).toEqual([
    "WriteForbidden",
  ]);
  const device = new Device(mallory);
  device.pullAll(shard);
  expect(device.alive.size).toBe(0);
});

test("[S6] without rules clients see and write nothing", () => {
  const shard = shardOf({ rules: { buckets: [] } });
  push(shard, ADMIN, [edit("INSERT", "a", 1, { user_id: "alice" })]);
  expect(codes(push(shard, alice, [edit("INSERT", "b", 1, { user_id: "alice" })]))).toEqual(["WriteForbidden"]);
  const device = new Device(alice);
  expect(device.pullAll(shard)).toEqual([]);
});
