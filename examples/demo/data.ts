/** Real rows from the npm package vega-datasets: US flights of 2001 and films. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DuckDBInstance } from "@duckdb/node-api";
import type { Scalar } from "../../schemas/index.ts";

/** The package exports its code only; the data lies beside it. */
const DATA = join(dirname(fileURLToPath(import.meta.resolve("vega-datasets"))), "..", "data");

type Cells = Record<string, Scalar | Date>;
export type Rows = [rowId: string, cells: Cells][];

export const FLIGHT_COLUMNS = [
  { name: "date", type: "timestamp" },
  { name: "delay", type: "integer" },
  { name: "distance", type: "integer" },
  { name: "origin", type: "string" },
  { name: "destination", type: "string" },
] as const;

export const MOVIE_COLUMNS = [
  { name: "title", type: "string" },
  { name: "us_gross", type: "integer" },
  { name: "worldwide_gross", type: "integer" },
  { name: "production_budget", type: "integer" },
  { name: "release_date", type: "string" },
  { name: "mpaa_rating", type: "string" },
  { name: "distributor", type: "string" },
  { name: "major_genre", type: "string" },
  { name: "director", type: "string" },
  { name: "imdb_rating", type: "number" },
  { name: "imdb_votes", type: "integer" },
] as const;

/** The first `count` rows of flights-3m.parquet; the row id is the row's number. */
export async function flights(count: number): Promise<Rows> {
  const duckdb = await (await DuckDBInstance.create()).connect();
  const path = join(DATA, "flights-3m.parquet").replaceAll("'", "''");
  const sql = `SELECT epoch_ms(date)::DOUBLE, delay::DOUBLE, distance::DOUBLE, origin, destination FROM read_parquet('${path}') LIMIT ${count}`;
  const result = await duckdb.runAndReadAll(sql);
  const [date = [], delay = [], distance = [], origin = [], destination = []] = result.getColumnsJS() as Scalar[][];
  duckdb.closeSync();
  return date.map((at, n) => [
    String(n),
    {
      date: new Date(at as number),
      delay: delay[n],
      distance: distance[n],
      origin: origin[n],
      destination: destination[n],
    } as Cells,
  ]);
}

/** movies.json: 3,201 films with gaps and odd types, as it comes; a title that is a number becomes its text. */
export function movies(): Rows {
  const films = JSON.parse(readFileSync(join(DATA, "movies.json"), "utf8")) as Record<string, Scalar>[];
  return films.map((film, n) => {
    const cells: Cells = {};
    for (const { name, type } of MOVIE_COLUMNS) {
      const key = Object.keys(film).find((k) => k.toLowerCase().replaceAll(" ", "_") === name) as string;
      const value = film[key] ?? null;
      cells[name] = value !== null && type === "string" ? String(value) : value;
    }
    return [`movie-${n}`, cells];
  });
}
