/** The app without a network: it starts, it works, and what was done is not lost. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Stage, shoot } from "./testing.ts";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.start();
}, 60_000);
afterAll(() => stage?.stop());

const PATIENCE = { timeout: 30_000 };
const says = (page: Page, text: string | RegExp) =>
  expect.poll(() => page.getByTestId("sync").first().textContent(), PATIENCE).toMatch(text);

/** The app's files are on the device. */
const installed = (page: Page) =>
  page.evaluate(
    "navigator.serviceWorker.ready.then(() => new Promise((resolve) => {" +
      "const look = () => navigator.serviceWorker.controller ? resolve() : setTimeout(look, 20); look(); }))",
  );

test("with nothing at the other end, the app starts from the device, takes edits, and sends them when there is a gateway again", async () => {
  const page = await stage.open("/?user=alice");
  await page.getByRole("button", { name: "Book the cabin", exact: true }).waitFor();
  await says(page, "Synced");
  await installed(page);
  const mend = await stage.cut();

  await page.reload();
  await page.getByRole("button", { name: "Book the cabin", exact: true }).waitFor();
  await page.getByRole("textbox", { name: "New todo" }).fill("Written without a network");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Written without a network", exact: true }).waitFor();
  await says(page, "No connection, 1 waiting");
  const marks = page.getByRole("img", { name: "Not sent yet" });
  const written = page.getByRole("listitem").filter({ hasText: "Written without a network" });
  expect(await marks.count()).toBe(1);
  expect(await written.getByRole("img", { name: "Not sent yet" }).count()).toBe(1);
  await page.waitForTimeout(1300); // a mark shows on what waits for longer
  await shoot(page, "no-network");
  await page.reload();
  await page.getByRole("button", { name: "Written without a network", exact: true }).waitFor();

  await mend();
  await says(page, "Synced");
  await expect.poll(() => marks.count()).toBe(0);
  const titles = [...(await stage.rows("bob", "todos")).values()].map(({ title }) => title);
  expect(titles).toContain("Written without a network");
  await page.context().close();
});

test("the browser offers to install it", async () => {
  const page = await stage.open("/");
  await installed(page);
  const devtools = await page.context().newCDPSession(page);
  const { errors, url } = await devtools.send("Page.getAppManifest");
  expect([errors, new URL(url).pathname]).toEqual([[], "/manifest.webmanifest"]);
  const { installabilityErrors } = await devtools.send("Page.getInstallabilityErrors");
  expect(installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito")).toEqual([]);
  await page.context().close();
});

test("without a token the app works, says what is missing, and syncs once it is given one", async () => {
  const page = await stage.open("/health");
  await page.route("**/session/*", (route) => route.fulfill({ status: 404, body: "" }));
  await page.goto(new URL("/?user=bob", stage.url).href);
  await page.getByRole("button", { name: "New list" }).click();
  await page.getByRole("textbox", { name: "Name of the new list" }).fill("My own");
  await page.keyboard.press("Enter");
  await says(page, /^Signed out, \d waiting$/);
  await shoot(page, "signed-out");
  await page.getByRole("textbox", { name: /the gateway wants a token for Bob/ }).fill(await stage.token("bob"));
  await page.getByRole("button", { name: "Sign in" }).click();
  await says(page, "Synced");
  await page.getByRole("button", { name: /Garage/ }).waitFor();
  await page.context().close();
});
