import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import { expect, test } from "vitest";
import { ERRORS } from "../schemas/index.ts";
import { type JsonObject, openApi } from "./openapi.ts";

const document = openApi();

test("the OpenAPI document is sound", async () => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(document));
  expect(result.errors ?? []).toEqual([]);
  expect([result.valid, validator.version]).toEqual([true, "3.1"]);
});

test("every reference leads somewhere, every operation has a name of its own", () => {
  const { schemas } = document.components as { schemas: JsonObject };
  const text = JSON.stringify(document);
  for (const [, name] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g))
    expect(schemas).toHaveProperty(name as string);
  const ids = [...text.matchAll(/"operationId":"(\w+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
});

test("64-bit numbers are strings, names are camelCase, tagged values and defaults are there", () => {
  const { schemas } = document.components as { schemas: Record<string, { properties: JsonObject }> };
  expect(schemas.Delta?.properties).toMatchObject({
    hlc: { type: "string" },
    rowId: { type: "string" },
    op: { enum: ["INSERT", "UPDATE", "DELETE"] },
  });
  expect(schemas.PullResponse?.properties).toMatchObject({
    hasMore: { type: "boolean" },
    digests: { additionalProperties: { type: "string" } },
  });
  expect(schemas.DeltaBatch?.properties.hlcs).toEqual({ type: "string", contentEncoding: "base64" });
  expect(schemas.TableDefinition).toMatchObject({ required: ["columns"], additionalProperties: false });
});

test("docs/http.md lists every error code, with its status and whether to try again", () => {
  const page = readFileSync(join(import.meta.dirname, "..", "docs", "http.md"), "utf8");
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\d+|-) \| (yes|no) \| \S.*\|$/gm)].map(([, ...cells]) =>
    cells.slice(0, 3),
  );
  const expected = Object.entries(ERRORS).map(([code, { status, retry }]) => [
    code,
    status ? String(status) : "-",
    retry ? "yes" : "no",
  ]);
  expect(rows.sort()).toEqual(expected.sort());
});
