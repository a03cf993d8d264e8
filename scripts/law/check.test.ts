import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { breaches } from "./check.ts";

const houses: string[] = [];
afterEach(() => {
  for (const house of houses.splice(0)) rmSync(house, { recursive: true });
});

/** Builds a house of these files and returns what the law says about it. */
function law(files: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), "lakesync-law-"));
  houses.push(root);
  for (const [file, source] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), source);
  }
  return breaches(root);
}

test("a house that keeps the law has no breach", () => {
  const exports = { "./react": { types: "./dist/client/react/index.d.ts", default: "./dist/client/react/index.js" } };
  expect(
    law({
      "package.json": JSON.stringify({ name: "lakesync", exports }),
      "schemas/index.ts": `export * from "./gen/wire.ts";`,
      "schemas/gen/wire.ts": "export const a = 1;",
      "core/index.ts": `export { a } from "../schemas/index.ts"; export type { T } from "./deep/t.ts";`,
      "core/deep/t.ts": "export type T = 1;",
      "core/testing.ts": `import { test } from "vitest"; import { a } from "./index.ts"; test("x", () => void a);`,
      "client/index.ts": `import "../core/index.ts"; const w = new URL("./worker.ts", import.meta.url);`,
      "client/worker.ts": "export {};",
      "core/testing/store.ts": `import "node:sqlite";`,
      "lake/node.ts": `import "node:fs";`,
      "server/index.ts": `import "../lake/node.ts";`,
      "core/url.ts": `new URL("..", import.meta.url); new URL("../lake/index.ts", "https://example.com");`,
      "core/clock.ts": `import type { Stats } from "node:fs"; export type S = Stats;`,
      "core/clock.test.ts": `import "node:fs";`,
      "scripts/a.ts": `import "../package.json";`,
      "client/react/index.ts": `import "../index.ts";`,
      "lake/testing.ts": `import "../core/testing.ts";`,
      "lake/a.test.ts": `import "./deep/a.ts"; import "../core/testing.ts"; import "node:fs";`,
      "lake/deep/a.ts": `import { readFileSync } from "node:fs"; void readFileSync;`,
      "adapters/a.test.ts": `import "../lake/testing.ts";`,
      "examples/app.tsx": `import "../client/react/index.ts"; import "lakesync/react"; import "../worker/index.ts"; import "../bench/index.ts";`,
      "worker/index.ts": `import "../lake/index.ts"; import "../core/index.ts"; import "hono";`,
      "vitest.config.ts": `import "./scripts/testing/index.ts";`,
    }),
  ).toEqual([]);
});

test.each([
  ["climbing a floor", "core/a.ts", `import "../lake/index.ts";`, "climbs from floor 1 (core) to floor 2 (lake)"],
  [
    "climbing to the attic",
    "worker/a.ts",
    `import "../bench/index.ts";`,
    "climbs from floor 5 (worker) to floor 6 (bench)",
  ],
  ["siblings", "client/a.ts", `import "../lake/index.ts";`, "client and lake are siblings on floor 2"],
  ["Node's door in the Worker", "worker/a.ts", `import "../lake/node.ts";`, "does not go through the door of lake"],
  ["siblings at the top", "server/a.ts", `import "../worker/index.ts";`, "server and worker are siblings on floor 5"],
  ["going past the door", "lake/a.ts", `import "../core/merge.ts";`, "does not go through the door of core"],
  ["a deep index.ts", "lake/a.ts", `import "../core/ports/index.ts";`, "does not go through the door of core"],
  ["generated code", "core/a.ts", `import "../schemas/gen/wire.ts";`, "reaches into generated code"],
  ["test support that ships", "lake/a.ts", `import "../core/testing.ts";`, "is test support in code that ships"],
  ["a test in a sibling", "lake/a.test.ts", `import "../adapters/index.ts";`, "lake and adapters are siblings"],
  ["a test past a door", "lake/a.test.ts", `import "../core/merge.ts";`, "does not go through the door of core"],
  [
    "a test that climbs",
    "lake/a.test.ts",
    `import "../worker/testing.ts";`,
    "climbs from floor 2 (lake) to floor 5 (worker)",
  ],
  ["the attic past a door", "bench/a.ts", `import "../core/merge.ts";`, "does not go through the door of core"],
  ["leaving the repository", "core/a.ts", `import "../../other/a.ts";`, "leaves the repository"],
  ["a file of no floor", "core/a.ts", `import "../package.json";`, "belongs to no floor"],
  ["no extension", "core/a.ts", `import "./merge";`, "has no extension"],
  ["a runtime in core", "core/a.ts", `import "node:fs";`, "brings a runtime into a pure floor"],
  [
    "a runtime in schemas",
    "schemas/a.ts",
    `import { env } from "cloudflare:workers";`,
    "brings a runtime into a pure floor",
  ],
  ["a type", "core/a.ts", `import type { T } from "../lake/index.ts";`, "climbs"],
  ["an inline type", "core/a.ts", `type T = import("../lake/index.ts").T;`, "climbs"],
  ["a re-export", "core/a.ts", `export { x } from "../lake/index.ts";`, "climbs"],
  ["a whole re-export", "core/a.ts", `export * from "../lake/index.ts";`, "climbs"],
  ["a dynamic import", "core/a.ts", `const x = await import("../lake/index.ts");`, "climbs"],
  ["a template", "core/a.ts", "const x = await import(`../lake/index.ts`);", "climbs"],
  ["a require", "core/a.ts", `const x = require("../lake/index.ts");`, "climbs"],
  ["a worker's URL", "core/a.ts", `new Worker(new URL("../lake/index.ts", import.meta.url));`, "climbs"],
  ["a self-reference", "core/a.ts", `import "lakesync/gateway";`, "climbs"],
  ["a deep testing.ts", "lake/a.test.ts", `import "../core/ports/testing.ts";`, "does not go through the door of core"],
])("finds %s", (_name, file, source, fault) => {
  const manifest = JSON.stringify({ name: "lakesync", exports: { "./gateway": "./worker/index.ts" } });
  const found = law({ "package.json": manifest, [file]: `\n${source}\n` });
  expect(found).toHaveLength(1);
  expect(found[0]).toContain(`${file}:2  import`);
  expect(found[0]).toContain(fault);
  expect(found[0]).toContain("remedy: ");
});

test("finds server code that a browser reaches through another file, and shows the chain", () => {
  const found = law({
    "client/index.ts": `export * from "./sync.ts";`,
    "client/sync.ts": `import "../core/index.ts";`,
    "core/index.ts": `export * from "../lake/index.ts";`,
  });
  expect(found.join("\n")).toContain("client/index.ts -> client/sync.ts -> core/index.ts -> lake/index.ts");
});

test("finds a Node module that a browser reaches, unless it is loaded on demand or erased", () => {
  const client = (source: string) => law({ "client/index.ts": `export * from "./db.ts";`, "client/db.ts": source });
  expect(client(`import "node:fs";`).join()).toContain("client/db.ts:1");
  expect(client(`await import("node:fs");`)).toEqual([]);
  expect(client(`import type { Stats } from "node:fs";`)).toEqual([]);
});

test("an import in a comment or a string is none", () => {
  expect(law({ "core/a.ts": `// import "../lake/index.ts"\nconst s = 'import "../lake/index.ts"';` })).toEqual([]);
});

test("a file that is not TypeScript is an error, not a file without imports", () => {
  expect(() => law({ "core/a.ts": "import {" })).toThrow(/core\/a\.ts/);
});
