/** The README's first snippet, as it is printed, in a page against a real gateway. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Field, until } from "./testing.ts";

let field: Field;
beforeAll(async () => {
  field = await Field.start({ todos: { title: { type: "string" }, completed: { type: "integer" } } });
}, 120_000);
afterAll(() => field?.stop(), 60_000);

test("the README's snippet puts a todo on the gateway", async () => {
  const readme = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");
  const [, printed = ""] = /^```ts\n(.*?)^```/ms.exec(readme) ?? [];
  const filledIn = printed
    .replace('"http://localhost:8787"', JSON.stringify(field.origin))
    .replace('token = "..."', `token = ${JSON.stringify(await field.token())}`);
  expect(filledIn.split("\n").length).toBe(printed.split("\n").length);
  const page = await field.page(await field.browser());
  // A page has no bundler to resolve the package's name.
  const script = filledIn.replace('"lakesync/client"', JSON.stringify(`${field.origin}/lakesync.js`));
  await page.addScriptTag({ type: "module", content: script });
  const wanted = new Map([["row-1", { title: "Buy milk", completed: 0 }]]);
  await until(async () => (await field.rows("todos")).size > 0);
  expect(await field.rows("todos")).toEqual(wanted);
}, 120_000);
