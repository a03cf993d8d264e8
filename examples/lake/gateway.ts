/** A gateway of its own with films in its lake, edited for a while, and the page beside it. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { GatewayServer } from "../../server/index.ts";

const TABLE = "films";
const GATEWAY_ID = "demo";
const COLUMNS = [
  { name: "title", type: "string" },
  { name: "genre", type: "string" },
  { name: "director", type: "string" },
  { name: "released", type: "integer" },
  { name: "rating", type: "number" },
  { name: "votes", type: "integer" },
  { name: "gross", type: "integer" },
] as const;

interface Movie {
  readonly Title: unknown;
  readonly "Major Genre": string | null;
  readonly Director: string | null;
  readonly "Release Date": string | null;
  readonly "IMDB Rating": number | null;
  readonly "IMDB Votes": number | null;
  readonly "Worldwide Gross": number | null;
}

interface Edit {
  readonly op: "INSERT" | "UPDATE" | "DELETE";
  readonly rowId: string;
  readonly cells: Readonly<Record<string, unknown>>;
}

export interface LakeExample {
  /** Where the page is, token included. */
  readonly page: URL;
  /** Edits of one device, acknowledged; not flushed. */
  push(clientId: string, edits: readonly Edit[]): Promise<void>;
  flush(): Promise<void>;
  stop(): Promise<void>;
}

/** @param assets the built page; @param films how many */
export async function startLakeExample(assets: string, { films = 1200, port = 0 } = {}): Promise<LakeExample> {
  const server = new GatewayServer({
    port,
    gatewayId: GATEWAY_ID,
    jwtSecret: crypto.randomUUID() + crypto.randomUUID(),
    persistence: "memory",
    assets,
    vars: { LOG_LEVEL: "error" },
  });
  await server.start();
  const token = await server.token({ sub: "analyst", role: "admin" });
  const ask = async (method: string, path: string, body?: unknown): Promise<void> => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const url = new URL(`/v1/${GATEWAY_ID}${path}`, server.url);
    const response = await fetch(url, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  };
  let counter = 0;
  const example: LakeExample = {
    page: new URL(`/#gw=${GATEWAY_ID}&token=${token}`, server.url),
    async push(clientId, edits) {
      const deltas = edits.map(({ op, rowId, cells }) => ({
        op,
        table: TABLE,
        rowId,
        hlc: ((BigInt(Date.now()) << 16n) + BigInt(counter++ % 65_536)).toString(),
        columns: Object.entries(cells).map(([column, value]) => ({ column, value })),
      }));
      await ask("POST", "/push", { clientId, deltas });
    },
    flush: () => ask("POST", "/admin/flush"),
    stop: () => server.stop(),
  };
  await ask("PUT", `/admin/tables/${TABLE}`, { columns: COLUMNS });
  await tellStory(example, films);
  return example;
}

/** Films come in, critics change their minds, a distributor corrects takings, an archivist removes some. */
async function tellStory(example: LakeExample, films: number): Promise<void> {
  const file = join(dirname(fileURLToPath(import.meta.resolve("vega-datasets"))), "../data/movies.json");
  const movies = (JSON.parse(readFileSync(file, "utf8")) as Movie[]).slice(0, films);
  const idOf = (at: number) => `film-${String(at).padStart(4, "0")}`;
  const part = Math.ceil(movies.length / 4);
  for (let from = 0; from < movies.length; from += part) {
    const edits = movies.slice(from, from + part).map((movie, at) => insert(idOf(from + at), movie));
    for (let k = 0; k < edits.length; k += 500) await example.push("archive", edits.slice(k, k + 500));
    await example.flush();
  }
  const rated = movies.flatMap((movie, at) =>
    movie["IMDB Rating"] === null ? [] : [{ at, rating: movie["IMDB Rating"] }],
  );
  for (let round = 0; round < 6; round++) {
    const some = rated.filter(({ at }) => at % 6 === round);
    const changed = some.map(({ at, rating }) => {
      const next = Math.min(10, Math.round((rating + Math.sin(at + round) / 2) * 10) / 10);
      return { op: "UPDATE", rowId: idOf(at), cells: { rating: next, votes: 1000 + ((at * 7919) % 90_000) } } as const;
    });
    await example.push(`critic-${(round % 3) + 1}`, changed);
    await example.flush();
  }
  const removed = movies.flatMap((_, at) =>
    at % 40 === 7 ? [{ op: "DELETE", rowId: idOf(at), cells: {} } as const] : [],
  );
  await example.push("archive", removed);
  await example.flush();
  const best = [...rated].sort((a, b) => b.rating - a.rating).slice(0, 5);
  await example.push(
    "distributor",
    best.map(({ at }) => ({ op: "UPDATE", rowId: idOf(at), cells: { gross: 123_456_789 } }) as const),
  );
}

function insert(rowId: string, movie: Movie): Edit {
  const year = new Date(movie["Release Date"] ?? Number.NaN).getUTCFullYear();
  return {
    op: "INSERT",
    rowId,
    cells: {
      title: String(movie.Title),
      genre: movie["Major Genre"],
      director: movie.Director,
      released: Number.isNaN(year) ? null : year,
      rating: movie["IMDB Rating"],
      votes: movie["IMDB Votes"],
      gross: movie["Worldwide Gross"],
    },
  };
}
