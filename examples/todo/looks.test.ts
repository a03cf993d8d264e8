/** What the app looks like and how it is used: screenshots in test-results/todo/, accessibility, the conflict on purpose. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Stage, shoot } from "./testing.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.start();
}, 60_000);
afterAll(() => stage?.stop());

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCREENS: Record<string, BrowserContextOptions> = {
  desktop: { viewport: { width: 1280, height: 860 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true },
};

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** What axe has to say against the page: WCAG 2.2 A and AA, and best practice. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const found = (await page.evaluate("axe.run().then((result) => result.violations)")) as Violation[];
  return found.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}

const ready = async (page: Page): Promise<void> => {
  for (const badge of await page.getByTestId("sync").all())
    await expect.poll(() => badge.textContent(), { timeout: 30_000 }).toBe("Synced");
  await page.locator(".todo").first().waitFor();
};

test.each(
  Object.keys(SCREENS).flatMap((screen) => (["light", "dark"] as const).map((scheme) => [screen, scheme] as const)),
)("%s, %s: nothing overflows, nothing is inaccessible", async (screen, colorScheme) => {
  const page = await stage.open("/", { ...SCREENS[screen], colorScheme });
  await ready(page);
  await shoot(page, `${screen}-${colorScheme}`);
  expect(await violations(page)).toEqual([]);
  expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
  await page.getByRole("button", { name: "New list" }).first().click();
  await page.getByRole("textbox", { name: "Name of the new list" }).fill("Winter");
  await page.getByRole("checkbox", { name: "only Alice" }).check();
  await shoot(page, `${screen}-${colorScheme}-new-list`);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Winter" }).first().waitFor();
  await shoot(page, `${screen}-${colorScheme}-empty`);
  expect(await violations(page)).toEqual([]);
  await page.context().close();
});

test.each(Object.keys(SCREENS))("%s: a conflict resolves by column before your eyes", async (screen) => {
  const page = await stage.open("/", SCREENS[screen]);
  await ready(page);
  await page.getByRole("button", { name: "Show me a conflict" }).click();
  const [alice, bob] = [
    page.getByRole("region", { name: "Alice", exact: true }),
    page.getByRole("region", { name: "Bob", exact: true }),
  ];
  await page.getByText("Bob, who cannot see that").waitFor();
  await expect.poll(() => alice.textContent()).toContain("Pack the picnic for six");
  await expect.poll(() => bob.textContent()).toContain("doneyes");
  await shoot(page, `${screen}-conflict`);
  expect(await violations(page)).toEqual([]);
  await page.getByText("Both edits survive on both devices").waitFor();
  for (const device of [alice, bob]) expect(await device.textContent()).toContain("Pack the picnic for sixdoneyes");
  await shoot(page, `${screen}-resolved`);
  if (screen === "desktop") {
    await page.getByRole("button", { name: "And if both edit the same cell?" }).click();
    await page.getByText("the later edit wins, on both devices").waitFor();
    for (const device of [alice, bob]) expect(await device.textContent()).toContain("Pack a cake");
  }
  await page.getByRole("button", { name: "Close" }).last().click();
  await page.context().close();
});

test("everything can be done with the keyboard", async () => {
  const page = await stage.open("/?user=bob");
  await ready(page);
  await page.getByRole("textbox", { name: "New todo" }).focus();
  await page.keyboard.type("Blankets");
  await page.keyboard.press("Enter");
  const title = page.getByRole("button", { name: "Blankets", exact: true });
  await title.waitFor();
  await page.getByRole("checkbox", { name: "Done: Blankets" }).focus();
  await page.keyboard.press("Space");
  await expect.poll(() => page.getByRole("checkbox", { name: "Done: Blankets" }).isChecked()).toBe(true);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.type("Warm blankets");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Warm blankets", exact: true }).waitFor();
  await expect.poll(() => page.evaluate("document.activeElement.textContent")).toBe("Warm blankets");
  await page.keyboard.press("Enter");
  await page.keyboard.type("no");
  await page.keyboard.press("Escape");
  expect(await page.getByRole("button", { name: "Warm blankets", exact: true }).count()).toBe(1);
  await page.context().close();
});

test("a todo is dragged by its handle", async () => {
  const page = await stage.open("/?user=bob");
  await page.getByRole("button", { name: /Groceries/ }).click();
  const grip = page.getByRole("button", { name: /^Move Coffee beans/ });
  const [from, to] = [
    await grip.boundingBox(),
    await page.getByRole("button", { name: /^Move Oat milk/ }).boundingBox(),
  ];
  if (!from || !to) throw new Error("There is nothing to drag.");
  await page.mouse.move(from.x + 8, from.y + 12);
  await page.mouse.down();
  await page.mouse.move(from.x + 8, to.y + 40, { steps: 4 });
  await shoot(page, "dragging");
  await page.mouse.move(from.x + 8, to.y, { steps: 4 });
  await page.mouse.up();
  await page.getByRole("button", { name: /^Move Coffee beans, the dark ones, 1 of/ }).waitFor();
  await page.context().close();
});

test("an iPhone finds a picture for its home screen: it takes no SVG", async () => {
  const page = await stage.open("/?user=bob");
  const href = (await page.locator('link[rel="apple-touch-icon"]').getAttribute("href")) as string;
  const response = await fetch(new URL(href, stage.url));
  expect(response.headers.get("content-type")).toBe("image/png");
  const header = Buffer.from(await response.arrayBuffer());
  expect([header.readUInt32BE(16), header.readUInt32BE(20)]).toEqual([180, 180]);
  await page.context().close();
});
