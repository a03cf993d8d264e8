/**
 * BigQuery's REST interface, as far as it is needed: queries and scripts, and load jobs with their data.
 *
 *   429, 5xx, 403 for a rate   again, after 1, 2, 4 ... seconds and a little chance (Google, "Error messages")
 *   401, 403, 404              told with the remedy
 *   400                        a statement was refused, or a transaction met another: the latter is tried again by the flush
 *
 * Whatever is asked may be asked twice: statements look at the watermark before they write.
 */
import { LakeSyncError } from "../../schemas/index.ts";
import { inDataset } from "./statements.ts";

const ATTEMPTS = 6;
const FIRST_PAUSE_MS = 1000;
/** How long one request waits for its job. Milliseconds. */
const WAIT_MS = 60_000;
const RATES: ReadonlySet<string> = new Set([
  "rateLimitExceeded",
  "jobRateLimitExceeded",
  "backendError",
  "internalError",
]);

export interface RestOptions {
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly projectId: string;
  readonly dataset: string;
  readonly location: string | undefined;
  token(): Promise<string>;
  readonly fetch: (request: Request) => Promise<Response>;
  sleep(milliseconds: number): Promise<void>;
  chance(): number;
}

/** A cell of an answer: all scalars are text. */
type Cell = { readonly v: string | null };
interface Answer {
  readonly jobReference?: { readonly jobId: string; readonly location?: string };
  readonly jobComplete?: boolean;
  readonly schema?: { readonly fields: readonly { readonly name: string }[] };
  readonly rows?: readonly { readonly f: readonly Cell[] }[];
  readonly pageToken?: string;
  readonly errors?: readonly Fault[];
  readonly status?: { readonly state: string; readonly errorResult?: Fault };
}
interface Fault {
  readonly reason?: string;
  readonly message?: string;
}

export type Parameter = string | number | readonly string[];
export type AnswerRow = Readonly<Record<string, string | null>>;

export class BigQueryRest {
  readonly #options: RestOptions;

  constructor(options: RestOptions) {
    this.#options = options;
  }

  /** Runs one statement or a script. @throws LakeSyncError */
  async query(sql: string, parameters: Readonly<Record<string, Parameter>> = {}): Promise<AnswerRow[]> {
    const { dataset, location } = this.#options;
    const body = {
      query: inDataset(dataset, sql),
      useLegacySql: false,
      timeoutMs: WAIT_MS,
      parameterMode: "NAMED",
      queryParameters: Object.entries(parameters).map(([name, value]) => ({ name, ...parameterOf(value) })),
      ...(location !== undefined && { location }),
    };
    let answer = await this.#send("POST", "/bigquery/v2", "queries", JSON.stringify(body));
    const { jobReference } = answer;
    const results = (rest: string) =>
      this.#send("GET", "/bigquery/v2", `queries/${jobReference?.jobId}?${this.#at(jobReference)}${rest}`);
    while (answer.jobComplete === false) answer = await results(`timeoutMs=${WAIT_MS}`);
    throwFirst(answer.errors);
    const rows: AnswerRow[] = [];
    for (;;) {
      const fields = answer.schema?.fields ?? [];
      for (const { f } of answer.rows ?? [])
        rows.push(Object.fromEntries(fields.map(({ name }, at) => [name, f[at]?.v ?? null])));
      if (!answer.pageToken) return rows;
      answer = await results(`pageToken=${encodeURIComponent(answer.pageToken)}`);
    }
  }

  /** Appends lines of JSON to a table, which is made if need be; ended when the data is there. @throws LakeSyncError */
  async load(
    tableId: string,
    fields: readonly { readonly name: string; readonly type: string }[],
    lines: string,
  ): Promise<void> {
    const { projectId, dataset, location } = this.#options;
    const job = {
      ...(location !== undefined && { jobReference: { projectId, location } }),
      configuration: {
        load: {
          destinationTable: { projectId, datasetId: dataset, tableId },
          sourceFormat: "NEWLINE_DELIMITED_JSON",
          writeDisposition: "WRITE_APPEND",
          schema: { fields },
        },
      },
    };
    const edge = "lakesync-edge-of-a-part";
    const body = `--${edge}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n${JSON.stringify(job)}\r\n--${edge}\r\nContent-Type: application/octet-stream\r\n\r\n${lines}\r\n--${edge}--`;
    const type = `multipart/related; boundary=${edge}`;
    let answer = await this.#send("POST", "/upload/bigquery/v2", "jobs?uploadType=multipart", body, type);
    const { jobReference } = answer;
    for (let pause = 200; answer.status && answer.status.state !== "DONE"; pause = Math.min(pause * 2, 5000)) {
      await this.#options.sleep(pause);
      answer = await this.#send("GET", "/bigquery/v2", `jobs/${jobReference?.jobId}?${this.#at(jobReference)}`);
    }
    if (answer.status?.errorResult) throwFirst([answer.status.errorResult]);
  }

  /** Makes the dataset where it is missing; one that somebody else made meanwhile will do. @throws LakeSyncError */
  async makeDataset(): Promise<void> {
    const { projectId, dataset: datasetId, location } = this.#options;
    const unless = (key: "status" | "reason", expected: unknown) => (error: unknown) => {
      if (!(error instanceof LakeSyncError) || error.details[key] !== expected) throw error;
    };
    if (await this.#send("GET", "/bigquery/v2", `datasets/${datasetId}`).catch(unless("status", 404))) return;
    const body = { datasetReference: { projectId, datasetId }, ...(location !== undefined && { location }) };
    await this.#send("POST", "/bigquery/v2", "datasets", JSON.stringify(body)).catch(unless("reason", "duplicate"));
  }

  #at(job: Answer["jobReference"]): string {
    return job?.location ? `location=${encodeURIComponent(job.location)}&` : "";
  }

  async #send(method: string, root: string, path: string, body?: string, type = "application/json"): Promise<Answer> {
    const { endpoint, projectId, token, fetch, sleep, chance } = this.#options;
    const url = `${endpoint}${root}/projects/${encodeURIComponent(projectId)}/${path}`;
    for (let attempt = 1; ; attempt++) {
      const headers = { authorization: `Bearer ${await token()}`, "content-type": type };
      const last = attempt === ATTEMPTS;
      let response: Response;
      try {
        response = await fetch(new Request(url, { method, headers, ...(body !== undefined && { body }) }));
      } catch (cause) {
        if (last)
          throw new LakeSyncError(
            "DestinationUnavailable",
            "BigQuery cannot be reached; it will be tried again.",
            {},
            { cause },
          );
        await sleep(pauseAfter(attempt, chance()));
        continue;
      }
      if (response.ok) return (await response.json()) as Answer;
      const fault = await faultOf(response);
      const passes = response.status === 429 || response.status >= 500 || RATES.has(fault.reason ?? "");
      if (!passes || last) throw errorOf(response.status, fault, this.#options);
      await sleep(pauseAfter(attempt, chance()));
    }
  }
}

const pauseAfter = (attempt: number, chance: number): number => FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + chance);

async function faultOf(response: Response): Promise<Fault> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error: { message?: string; errors?: readonly Fault[] } };
    return { message: error.message ?? "", reason: error.errors?.[0]?.reason ?? "" };
  } catch {
    return { message: text.slice(0, 200) };
  }
}

function errorOf(
  status: number,
  { message = "", reason = "" }: Fault,
  { projectId, dataset }: RestOptions,
): LakeSyncError {
  const details = { status, reason, dataset };
  if (status === 429 || status >= 500 || RATES.has(reason))
    return new LakeSyncError(
      "DestinationUnavailable",
      `BigQuery asks to wait: ${message} It will be tried again.`,
      details,
    );
  if (status === 401)
    return new LakeSyncError(
      "Misconfigured",
      "BigQuery does not take the credentials: the service account's key was deleted, or this machine's clock is off. Make a new key.",
      { ...details, key: "credentials" },
    );
  if (status === 403 && reason === "quotaExceeded")
    return new LakeSyncError(
      "DestinationUnavailable",
      `A quota of BigQuery is used up: ${message} Flushes go on when it is renewed; raise it in project ${projectId}.`,
      details,
    );
  if (status === 403)
    return new LakeSyncError(
      "DestinationUnavailable",
      `The service account may not do this: ${message} Give it the roles BigQuery Data Editor (on dataset ${dataset}) and BigQuery Job User (on project ${projectId}).`,
      { ...details, needs: "operator" },
    );
  if (status === 404)
    return new LakeSyncError(
      "DestinationRefused",
      `BigQuery does not find it: ${message} Is there a dataset ${dataset} in project ${projectId}, in the configured location?`,
      details,
    );
  return refused(message, reason);
}

/** Statements that met another's, or were stopped, may pass the next time. */
const MEETING = /aborted|concurrent|conflict|could not serialize|Retrying/i;

const refused = (message: string, reason: string): LakeSyncError =>
  MEETING.test(message)
    ? new LakeSyncError("CommitConflict", `BigQuery: ${message}`, { reason })
    : new LakeSyncError("DestinationRefused", `BigQuery refused a statement: ${message}`, {
        reason,
        ...(reason === "notFound" && { status: 404 }),
      });

function throwFirst(errors: readonly Fault[] | undefined): void {
  const [first] = errors ?? [];
  if (first) throw refused(first.message ?? "", first.reason ?? "");
}

function parameterOf(value: Parameter) {
  if (typeof value === "number") return { parameterType: { type: "INT64" }, parameterValue: { value: String(value) } };
  if (typeof value === "string") return { parameterType: { type: "STRING" }, parameterValue: { value } };
  return {
    parameterType: { type: "ARRAY", arrayType: { type: "STRING" } },
    parameterValue: { arrayValues: value.map((each) => ({ value: each })) },
  };
}
