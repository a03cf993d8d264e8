/** The page over a real gateway, in Chromium; screenshots in test-results/lake/. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { chromiumLaunchOptions, unpackChromium } from "../../scripts/testing/chromium.ts";
import { buildPage } from "./build.ts";
import { type LakeExample, startLakeExample } from "./gateway.ts";

const SHOTS = join(import.meta.dirname, "../../test-results/lake");
const FILMS = 1200;
const assets = mkdtempSync(join(tmpdir(), "lakesync-page-"));
let example: LakeExample;
let browser: Browser;
let page: Page;
const broken: string[] = [];

beforeAll(async () => {
  await buildPage(assets);
  example = await startLakeExample(assets, { films: FILMS });
  unpackChromium();
  mkdirSync(SHOTS, { recursive: true });
  browser = await chromium.launch(chromiumLaunchOptions());
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.on("pageerror", (error) => broken.push(String(error)));
  await page.goto(example.page.href);
  await ran(1);
});
afterAll(async () => {
  await browser?.close();
  await example?.stop();
  rmSync(assets, { recursive: true, force: true });
});

/** Until the page has answered so many queries, or a later one. */
const ran = (count: number) =>
  page.waitForFunction(`Number(document.body.dataset.ran ?? 0) >= ${count}`, undefined, { timeout: 60_000 });
const answered = async () => Number(await page.locator("body").getAttribute("data-ran"));
const cells = (column: number) => page.locator(`#rows tbody td:nth-child(${column})`).allTextContents();
const shot = (name: string) => page.screenshot({ path: join(SHOTS, `${name}.png`), animations: "disabled" });

async function ask(sql: string): Promise<void> {
  const before = await answered();
  await page.getByLabel("SQL", { exact: true }).fill(sql);
  await page.getByRole("button", { name: "Run" }).click();
  await ran(before + 1);
}

/** @param share of the way from the first edit to the last */
async function slideTo(share: number): Promise<number> {
  const before = await answered();
  const slider = page.getByRole("slider");
  const [min, max] = [Number(await slider.getAttribute("min")), Number(await slider.getAttribute("max"))];
  const ms = Math.round(min + (max - min) * share);
  await slider.fill(String(ms));
  await ran(before + 1);
  return ms;
}

const COUNT = "SELECT count(*) AS films FROM films";
const LEFT = FILMS - Math.ceil((FILMS - 7) / 40);

test("[L6] the page shows the lake as it is, unflushed edits included", async () => {
  expect(await page.locator("#rows tbody tr").count()).toBe(25);
  await shot("now");
  await ask("SELECT count(*) AS n FROM films WHERE gross = 123456789");
  expect(await cells(1)).toEqual(["5"]);
  await ask(COUNT);
  expect(await cells(1)).toEqual([String(LEFT)]);
});

test("[L6] the slider runs the query again, as of then", async () => {
  await ask(COUNT);
  await slideTo(0);
  expect(await cells(1)).toEqual(["0"]);
  const counts: number[] = [];
  for (const share of [0.05, 0.15, 0.3]) {
    await slideTo(share);
    counts.push(Number((await cells(1))[0]));
  }
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  await slideTo(1);
  expect(await cells(1)).toEqual([String(LEFT)]);
  const before = await answered();
  await page.getByRole("button", { name: "Best rated" }).click();
  await ran(before + 1);
  await slideTo(0.55);
  await shot("then");
});

test("[L6] a row's history says who changed what, and what had not happened yet", async () => {
  await page.getByLabel("now, with edits").check();
  const before = await answered();
  await ask("SELECT _id, title, rating FROM films WHERE gross = 123456789 ORDER BY _id");
  await ran(before + 1);
  await page.locator("#rows tbody tr").first().click();
  const entries = page.locator("#changes li");
  await entries.nth(2).waitFor();
  const texts = await entries.allTextContents();
  expect(texts[0]).toMatch(/^insert by archive/);
  expect(texts.at(-1)).toMatch(/^update by distributor.*gross123456789$/);
  expect(texts.some((text) => /^update by critic-\d.*rating/.test(text))).toBe(true);
  await slideTo(0.3);
  expect(await page.locator("#changes li.later").count()).toBeGreaterThan(0);
  expect(await page.locator("#changes li.later").count()).toBeLessThan(texts.length);
  await page.getByLabel("now, with edits").check();
  const last = await answered();
  await page.getByRole("button", { name: "Best rated" }).click();
  await ran(last + 1);
  await page.locator("#rows tbody tr").nth(2).click();
  await entries.nth(1).waitFor();
  await shot("history");
});

test("SQL that is wrong is said to be, and the page goes on", async () => {
  await ask("SELECT nope FROM films");
  await expect.poll(() => page.getByRole("alert").textContent()).toContain("nope");
  await ask(COUNT);
  expect(await page.getByRole("alert").count()).toBe(0);
  expect(await cells(1)).toEqual([String(LEFT)]);
  expect(broken).toEqual([]);
});
