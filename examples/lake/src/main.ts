/** SQL over the lake in a page: a query, a slider through time that runs it again, and the history of a row. */
import { AsyncDuckDB, VoidLogger } from "@duckdb/duckdb-wasm";
import workerUrl from "@duckdb/duckdb-wasm/dist/duckdb-browser-eh.worker.js?url";
import wasmUrl from "@duckdb/duckdb-wasm/dist/duckdb-eh.wasm?url";
import { Analyst, duckdbWasm, type QueryResult, type RowChange } from "lakesync/analyst";

const SAMPLES: Readonly<Record<string, string>> = {
  "Best rated": `SELECT _id, title, genre, rating, votes\nFROM films\nWHERE votes > 1000\nORDER BY rating DESC, title\nLIMIT 25`,
  "By genre": `SELECT genre, count(*) AS films, round(avg(rating), 2) AS rating, sum(gross) AS gross\nFROM films\nGROUP BY genre\nORDER BY films DESC`,
  "Who edits": `SELECT _client_id AS device, _op AS edit, count(*) AS edits\nFROM films__changes\nGROUP BY ALL\nORDER BY edits DESC`,
};
const TYPING_MS = 120;

const element = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const sql = element<HTMLTextAreaElement>("sql");
const time = element<HTMLInputElement>("time");
const live = element<HTMLInputElement>("live");
const state = element("state");

/** An element with text or children; text is never markup. */
function make(name: string, content: string | readonly Node[], className = ""): HTMLElement {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (typeof content === "string") made.textContent = content;
  else made.append(...content);
  return made;
}

const shown = (value: unknown): string =>
  value === null ? "null" : typeof value === "object" ? JSON.stringify(value) : String(value);
const clock = (ms: number): string => `${new Date(ms).toISOString().slice(0, 23).replace("T", " ")} UTC`;

async function openAnalyst(): Promise<Analyst> {
  const given = new URLSearchParams(location.hash.slice(1));
  const database = new AsyncDuckDB(new VoidLogger(), new Worker(workerUrl));
  await database.instantiate(await unpacked(`${wasmUrl}.gz`));
  const [gatewayId, token] = [given.get("gw") ?? "demo", given.get("token") ?? ""];
  return new Analyst({ url: location.origin, gatewayId, token, engine: await duckdbWasm(database) });
}

/** The address of a gzipped file's content (vite.config.ts). */
async function unpacked(address: string): Promise<string> {
  const { body } = await fetch(address);
  if (!body) throw new Error(`${address} is not there`);
  const content = await new Response(body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  return URL.createObjectURL(new Blob([content], { type: "application/wasm" }));
}

let analyst: Analyst;
let chosen: string | undefined;
/** The row that was looked at last, as the answer before had it, to mark what differs. */
let before = new Map<string, string>();
let running = 0;

const asOf = () => (live.checked ? { live: true } : { asOf: { time: Number(time.value) }, live: true });

async function run(): Promise<void> {
  const mine = ++running;
  const started = performance.now();
  element("when").textContent = live.checked ? "now" : clock(Number(time.value));
  try {
    const result = await analyst.query(sql.value, asOf());
    if (mine !== running) return; // a later one is on its way
    element("error").hidden = true;
    render(result, Math.round(performance.now() - started));
    markLater();
  } catch (error) {
    if (mine !== running) return;
    element("error").hidden = false;
    element("error").textContent = String((error as Error).message);
  }
  document.body.dataset.ran = String(mine);
}

function render({ names, types, rows, stats }: QueryResult, milliseconds: number): void {
  const { files, filesPruned, requests, bytes } = stats;
  const fetched = requests === 0 ? "nothing fetched" : `${requests} requests, ${(bytes / 1024).toFixed(0)} KB`;
  element("stats").textContent =
    `${rows.length} rows in ${milliseconds} ms: ${files - filesPruned} of ${files} files, ${fetched}`;
  const numeric = types.map((type) => /INT|DOUBLE|DECIMAL|FLOAT/.test(type));
  const head = make(
    "tr",
    names.map((name, at) => make("th", name, numeric[at] ? "number" : "")),
  );
  const seen = new Map<string, string>();
  const body = rows.map((row, number) => {
    const key = String(row._id ?? number);
    const cells = names.map((name, at) => {
      const text = shown(row[name]);
      seen.set(`${key} ${name}`, text);
      const was = before.get(`${key} ${name}`);
      const classes = [
        numeric[at] && "number",
        row[name] === null && "null",
        was !== undefined && was !== text && "changed",
      ];
      return make("td", text, classes.filter(Boolean).join(" "));
    });
    const line = make("tr", cells, key === chosen ? "chosen" : "");
    if (row._id !== undefined) {
      line.tabIndex = 0;
      line.dataset.id = key;
    }
    return line;
  });
  before = seen;
  element("rows").replaceChildren(make("thead", [head]), make("tbody", body));
}

async function choose(rowId: string): Promise<void> {
  chosen = rowId;
  for (const line of document.querySelectorAll<HTMLElement>("#rows tr"))
    line.classList.toggle("chosen", line.dataset.id === rowId);
  element("subject").textContent = `History of ${rowId}`;
  element("changes").replaceChildren();
  const changes = await analyst.history("films", rowId, { live: true });
  if (chosen === rowId) element("changes").replaceChildren(...changes.map(entryOf));
  markLater();
}

function entryOf({ op, clientId, received, columns }: RowChange): HTMLElement {
  const named = Object.entries(columns).flatMap(([name, value]) => [make("dt", name), make("dd", shown(value))]);
  const when = make("time", clock(Date.parse(received)));
  when.setAttribute("datetime", received);
  return make("li", [make("strong", `${op.toLowerCase()} by ${clientId}`), make("div", [when]), make("dl", named)], op);
}

/** What had not happened yet at the moment that is looked at fades. */
function markLater(): void {
  for (const entry of document.querySelectorAll("#changes li")) {
    const received = Date.parse(entry.querySelector("time")?.getAttribute("datetime") ?? "");
    entry.classList.toggle("later", !live.checked && received > Number(time.value));
  }
}

/** From the first edit to the last; a tick for each snapshot's worth of edits. */
async function spanTime(): Promise<void> {
  const { rows } = await analyst.query(
    "SELECT epoch_ms(_received) AS ms, count(*) AS edits FROM films__changes GROUP BY 1 ORDER BY 1",
    { live: true },
  );
  const moments = rows.map(({ ms }) => Number(ms));
  time.min = String((moments[0] ?? 0) - 1);
  time.max = String((moments.at(-1) ?? 0) + 1);
  time.value = time.max;
  time.disabled = false;
  const ticks = moments.map((ms) => {
    const option = document.createElement("option");
    option.value = String(ms);
    return option;
  });
  element("ticks").replaceChildren(...ticks);
}

function listen(): void {
  let typing: ReturnType<typeof setTimeout> | undefined;
  time.addEventListener("input", () => {
    live.checked = false;
    element("when").textContent = clock(Number(time.value));
    clearTimeout(typing);
    typing = setTimeout(run, TYPING_MS);
  });
  live.addEventListener("change", () => {
    if (live.checked) time.value = time.max;
    run();
  });
  element("run").addEventListener("click", run);
  sql.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  });
  const chosenRow = (event: Event) => (event.target as HTMLElement).closest<HTMLElement>("tr[data-id]")?.dataset.id;
  element("rows").addEventListener("click", (event) => {
    const id = chosenRow(event);
    if (id) choose(id);
  });
  element("rows").addEventListener("keydown", (event) => {
    const id = event.key === "Enter" ? chosenRow(event) : undefined;
    if (id) choose(id);
  });
}

for (const [name, query] of Object.entries(SAMPLES)) {
  const button = make("button", name) as HTMLButtonElement;
  button.type = "button";
  button.addEventListener("click", () => {
    sql.value = query;
    run();
  });
  element("samples").append(button);
}
sql.value = SAMPLES["Best rated"] ?? "";
try {
  analyst = await openAnalyst();
  await spanTime();
  listen();
  state.textContent = "Ready: DuckDB in this page, files from the gateway.";
  await run();
} catch (error) {
  state.textContent = `It did not start: ${(error as Error).message}`;
}
