/** The embedded catalogue in the hands of PyIceberg, DuckDB and Spark, each of which creates, writes, changes and drops. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningCatalogue, serveCatalogue } from "./catalogue-server.ts";
import { runPython, withoutSpark } from "./python.ts";

const folder = mkdtempSync(join(tmpdir(), "lakesync-catalogue-"));
let catalogue: RunningCatalogue;
beforeAll(async () => {
  catalogue = await serveCatalogue(folder);
});
afterAll(() => {
  catalogue.close();
  rmSync(folder, { recursive: true });
});

/** What an engine saw; `failures` holds the requests that it expected to fail, and no others. */
async function session(engine: string, auth: Record<string, string>) {
  const seen = await runPython<Record<string, unknown>>("catalogue.py", { engine, uri: catalogue.uri, auth });
  const failures = catalogue.failures.splice(0).map((line) => line.split(" ").slice(0, 3).join(" "));
  return { seen, failures: failures.filter((line) => !line.startsWith("HEAD ")) };
}

const at = "/iceberg/v1/demo/namespaces";
const back = [
  ["1", "Alien", null],
  ["3", "Brazil", "1985"],
  ["4", "Dune", "2021"],
  ["5", "Empire", "1980"],
];

test("[L1] PyIceberg: every catalogue operation, by client credentials", async () => {
  const { seen, failures } = await session("pyiceberg", { credential: `me:${catalogue.token}` });
  expect(seen).toEqual({
    namespaces: [["py"]],
    children: [["py", "inner"]],
    properties: { team: "lake" },
    appended: ["1", "2", "3"],
    "stale schema change": "conflict",
    rows: [
      { id: "1", name: "Alien", year: null },
      { id: "3", name: "Brazil", year: "1985" },
      { id: "4", name: "Dune", year: "2021" },
    ],
    first: ["1", "2"],
    "table properties": { reviewed: "yes" },
    again: "exists",
    "drop namespace": "not empty",
    staged: ["9"],
    renamed: [false, true],
    registered: ["1", "3", "4", "5"],
    tables: [
      ["py", "back"],
      ["py", "staged"],
    ],
    purged: "gone",
  });
  expect(failures).toEqual([
    `POST ${at}/py/tables/movies 409`,
    `POST ${at}/py/tables 409`,
    `DELETE ${at}/py 409`,
    `GET ${at}/py/tables/staged 404`,
  ]);
});

test("[L1] DuckDB: attaches with a token, reads what PyIceberg wrote, creates, inserts, updates, deletes, drops", async () => {
  const { seen, failures } = await session("duckdb", { TOKEN: catalogue.token });
  expect(seen).toEqual({
    tables: ["back"],
    read: back,
    rows: [
      ["2", "B"],
      ["3", "c"],
    ],
    copied: [
      ["2", "b"],
      ["3", "c"],
    ],
    left: ["t"],
  });
  expect(failures).toEqual([]);
});

test.skipIf(withoutSpark)(
  "[L1] Spark: DDL, MERGE, its own compaction and expiry, CREATE OR REPLACE, PURGE",
  async () => {
    const { seen, failures } = await session("spark", { token: catalogue.token });
    expect(seen).toEqual({
      read: back,
      rows: [
        ["2", "b", "1999"],
        ["3", "c", null],
      ],
      snapshots: "2",
      replaced: [["7"]],
      tables: ["u"],
      namespaces: ["duck", "py"],
    });
    expect(failures.filter((line) => !line.endsWith(" 404"))).toEqual([]);
  },
);
