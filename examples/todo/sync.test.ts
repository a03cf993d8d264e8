/** Two people, two browsers, one real gateway: what they do without a network is the same for both afterwards. */
import type { Locator, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Stage, shoot } from "./testing.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.start();
}, 60_000);
afterAll(() => stage?.stop());

const PATIENCE = { timeout: 30_000 };
const badge = (page: Page) => page.getByTestId("sync").first();
const says = (page: Page, text: string) => expect.poll(() => badge(page).textContent(), PATIENCE).toBe(text);
const todo = (page: Page, title: string): Locator =>
  page.locator(".todo").filter({ has: page.getByRole("button", { name: title, exact: true }) });
const offline = (page: Page) => page.getByRole("switch").click();

async function rename(page: Page, title: string, to: string): Promise<void> {
  await page.getByRole("button", { name: title, exact: true }).click();
  await page.getByRole("textbox", { name: `Edit title of ${title}` }).fill(to);
  await page.keyboard.press("Enter");
  await todo(page, to).waitFor();
}

async function add(page: Page, title: string): Promise<void> {
  await page.getByRole("textbox", { name: "New todo" }).fill(title);
  await page.keyboard.press("Enter");
  await todo(page, title).waitFor();
}

/** What a person sees of the list, in order. */
const seen = (page: Page): Promise<string[]> =>
  page
    .locator(".todo")
    .evaluateAll((items) =>
      (items as unknown as { querySelector(s: string): { textContent: string; checked: boolean } }[]).map(
        (item) =>
          `${item.querySelector("input[type=checkbox]").checked ? "x" : "-"} ${item.querySelector(".editable > span").textContent}`,
      ),
    );

test("[M2] [M3] edits made offline on two devices, of one column, of two, and a delete, end the same on both and in the shard", async () => {
  const [alice, bob] = [await stage.open("/?user=alice"), await stage.open("/?user=bob")];
  for (const page of [alice, bob]) {
    await todo(page, "Book the cabin").waitFor();
    await says(page, "Synced");
    await offline(page);
    await says(page, "Offline");
  }
  await rename(alice, "Find the good thermos", "Find both thermoses");
  await todo(bob, "Find the good thermos").getByRole("checkbox").click({ force: true });
  await rename(alice, "Check the tyres of both bikes", "Alice was first");
  await rename(bob, "Check the tyres of both bikes", "Bob was later");
  await alice.getByRole("button", { name: "Delete Ask Carol about the canoe" }).click();
  await rename(bob, "Ask Carol about the canoe", "Ask Dave");
  await add(alice, "Sun cream");
  await add(bob, "Charcoal");
  await says(alice, "Offline, 4 waiting");
  await says(bob, "Offline, 4 waiting");
  await shoot(alice, "offline");

  for (const page of [bob, alice]) await offline(page);
  for (const page of [alice, bob]) await says(page, "Synced");
  const expected = ["x Book the cabin", "- Bob was later", "x Find both thermoses", "- Sun cream", "- Charcoal"];
  for (const page of [alice, bob])
    await expect.poll(async () => (await seen(page)).sort(), PATIENCE).toEqual([...expected].sort());
  expect(await seen(alice)).toEqual(await seen(bob));

  const shard = [...(await stage.rows("alice", "todos")).values()].filter(({ list }) => list === "lake");
  expect(shard.map(({ title, done }) => `${done ? "x" : "-"} ${title}`).sort()).toEqual([...expected].sort());
  await Promise.all([alice.context().close(), bob.context().close()]);
});

test("what one does online is on the other's screen a moment later, and order is shared", async () => {
  const [alice, bob] = [await stage.open("/?user=alice"), await stage.open("/?user=bob")];
  for (const page of [alice, bob]) await page.getByRole("button", { name: /Groceries/ }).click();
  await todo(bob, "Lemons").waitFor();
  await add(alice, "Figs");
  await todo(bob, "Figs").waitFor();
  const grip = bob.getByRole("button", { name: /^Move Figs/ });
  await grip.press("ArrowUp");
  await bob.getByRole("button", { name: /^Move Figs, 4 of 5/ }).press("ArrowUp");
  await bob.getByRole("button", { name: /^Move Figs, 3 of 5/ }).waitFor();
  await alice.getByRole("button", { name: /^Move Figs, 3 of 5/ }).waitFor();
  expect(await seen(alice)).toEqual(await seen(bob));
  expect((await seen(bob))[2]).toBe("- Figs");
  await Promise.all([alice.context().close(), bob.context().close()]);
});

test("[C6] a change that the gateway refuses is undone, told, and forgotten when dismissed; [PL4] private lists stay private", async () => {
  const bob = await stage.open("/?user=bob");
  await bob.getByRole("button", { name: /House rules/ }).click();
  const rule = todo(bob, "Bins go out on Thursday");
  await rule.getByRole("checkbox").click({ force: true });
  await says(bob, "1 refused");
  await expect.poll(() => rule.getByRole("checkbox").isChecked(), PATIENCE).toBe(false);
  await shoot(bob, "refused");
  await bob.getByRole("button", { name: "Dismiss" }).click();
  await says(bob, "Synced");
  expect(await bob.getByRole("navigation", { name: "Bob’s lists" }).textContent()).not.toContain("Ideas");
  await bob.context().close();
});

test("a todo that was deleted by mistake comes back", async () => {
  const bob = await stage.open("/?user=bob");
  await bob.getByRole("button", { name: /Garage/ }).click();
  await bob.getByRole("button", { name: "Delete Sharpen the saw" }).click();
  await bob.getByRole("button", { name: "Undo" }).click();
  await todo(bob, "Sharpen the saw").waitFor();
  await says(bob, "Synced");
  const rows = [...(await stage.rows("bob", "todos")).values()];
  expect(rows.filter(({ title }) => title === "Sharpen the saw")).toMatchObject([{ done: false, list: "garage" }]);
  await bob.context().close();
});

test("[C3] a second tab shows the same, writes, knows how sync is doing, and goes on when the first is closed", async () => {
  const first = await stage.open("/?user=alice");
  await says(first, "Synced");
  const second = await first.context().newPage();
  await second.goto(first.url());
  for (const page of [first, second]) await page.getByRole("button", { name: /Ideas/ }).click();
  await says(second, "Synced");
  expect(await second.getByRole("switch").count()).toBe(0);
  await add(second, "From the second tab");
  await todo(first, "From the second tab").waitFor();
  await says(second, "Synced");
  await offline(first);
  await says(second, "Offline");
  await add(second, "While the first is offline");
  await says(second, "Offline, 1 waiting");
  await first.close();
  await second.getByRole("switch").waitFor();
  await says(second, "Synced");
  const titles = [...(await stage.rows("alice", "todos")).values()].map(({ title }) => title);
  expect(titles).toEqual(expect.arrayContaining(["From the second tab", "While the first is offline"]));
  await second.context().close();
});
