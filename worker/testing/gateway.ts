/** The gateway under test, in workerd: every request goes through the Worker's own door. */
import { env, runDurableObjectAlarm, SELF } from "cloudflare:test";
import type { Message, MessageInitShape } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { SignJWT } from "jose";
import { expect } from "vitest";
import { call, type Env } from "../../durable-objects/index.ts";
import { decodeMessage, encodeBinary, PROTOBUF, proto, unwrap } from "../../schemas/index.ts";

export const bindings = env as unknown as Env;
const secret = new TextEncoder().encode(bindings.JWT_SECRET);
let count = 0;

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape are looked into
  readonly body: any;
}

export async function signToken(claims: Json, exp: string | number = "1h"): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).setExpirationTime(exp).sign(secret);
}

/** Sends a request as it is to the Worker. */
export async function send(path: string, init: RequestInit = {}): Promise<Answer> {
  return answerOf(await SELF.fetch(`http://gateway${path}`, { redirect: "manual", ...init }));
}

async function answerOf(response: Response): Promise<Answer> {
  const { status, headers } = response;
  const type = headers.get("content-type") ?? "";
  const bytes = new Uint8Array(await response.arrayBuffer());
  const text = () => new TextDecoder().decode(bytes);
  return {
    status,
    headers,
    body:
      type === PROTOBUF ? bytes : type.startsWith("application/json") && bytes.length > 0 ? JSON.parse(text()) : text(),
  };
}

/** One tenant of its own for each test. */
export class TestGateway {
  readonly id = `t${++count}-${crypto.randomUUID().slice(0, 8)}`;

  token(sub: string, claims: Json = {}): Promise<string> {
    return signToken({ gw: this.id, sub, ...claims });
  }

  admin(): Promise<string> {
    return this.token("root", { role: "admin" });
  }

  async request(
    token: string | undefined,
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const authorization = token && { authorization: `Bearer ${token}` };
    const init: RequestInit = { method, headers: { "content-type": "application/json", ...authorization, ...headers } };
    if (body !== undefined)
      init.body = body instanceof Uint8Array || typeof body === "string" ? body : JSON.stringify(body);
    return send(`/v1/${this.id}${path}`, init);
  }

  async putTable(name: string, columns: readonly Json[], more: Json = {}): Promise<Answer> {
    return this.request(await this.admin(), "PUT", `/admin/tables/${name}`, { columns, ...more });
  }

  async putRules(buckets: readonly Json[]): Promise<Answer> {
    return this.request(await this.admin(), "PUT", "/admin/sync-rules", { buckets });
  }

  async push(sub: string, clientId: string, deltas: readonly Json[], claims: Json = {}): Promise<Answer> {
    return this.request(await this.token(sub, claims), "POST", "/push", { clientId, deltas });
  }

  async pull(sub: string, cursor = "", more: Json = {}, claims: Json = {}): Promise<Answer> {
    return this.request(await this.token(sub, claims), "POST", "/pull", { cursor, ...more });
  }

  /** A protobuf message there and back. */
  async speak<In extends Message, Out extends Message>(
    token: string,
    path: string,
    schema: GenMessage<In>,
    message: MessageInitShape<GenMessage<In>>,
    answer: GenMessage<Out>,
  ): Promise<Out> {
    const type = { "content-type": PROTOBUF, accept: PROTOBUF };
    const { status, body } = await this.request(token, "POST", path, encodeBinary(schema, message), type);
    expect(status).toBe(200);
    return unwrap(decodeMessage(answer, body));
  }

  async status(): Promise<Answer["body"]> {
    return (await this.request(await this.admin(), "GET", "/admin/status")).body;
  }

  shard(name: string) {
    return bindings.SHARD.getByName(`${this.id}/${name}`);
  }

  get tenant() {
    return bindings.TENANT.getByName(this.id);
  }

  get hub() {
    return bindings.HUB.getByName(this.id);
  }

  /** Flushes every shard, by a destination that takes everything. */
  async settle(shards?: readonly string[]): Promise<void> {
    for (const name of shards ?? (await this.status()).shards.map((s: { shard: string }) => s.shard)) {
      const token = crypto.randomUUID();
      const leased = unwrap(await call("shard", this.shard(name).lease(token) as unknown as Promise<never>)) as
        | string
        | { tables: { table: string }[] };
      if (typeof leased === "string") continue;
      unwrap(
        await call(
          "shard",
          this.shard(name).settle(
            token,
            leased.tables.map(({ table }) => ({ table })),
          ),
        ),
      );
    }
  }

  /** Carries a move of rows through, flushing meanwhile. */
  async finishMove(): Promise<void> {
    for (let round = 0; round < 20; round++) {
      const { move } = await this.status();
      if (!move) return;
      await this.settle();
      await runDurableObjectAlarm(this.tenant);
    }
    throw new Error("the move does not end");
  }
}

let ticks = 0;
/** A new HLC as JSON has it: a decimal string. @param millis since 1970; now when left out */
export const hlc = (counter = ++ticks % 65536, millis = Date.now()): string =>
  ((BigInt(millis) << 16n) + BigInt(counter)).toString();

export const TODOS = [
  { name: "title", type: "string" },
  { name: "done", type: "boolean" },
  { name: "owner", type: "string" },
  { name: "priority", type: "integer" },
];
/** Everyone sees and writes the rows that they own. */
export const OWN = [{ name: "own", tables: ["todos"], filters: [{ column: "owner", op: "eq", value: "jwt:sub" }] }];
/** Everyone sees and writes everything. */
export const ALL = [{ name: "all", tables: ["todos"] }];

/** A gateway with the table `todos`. */
export async function todos(rules: readonly Json[] = OWN, more: Json = {}): Promise<TestGateway> {
  const gateway = new TestGateway();
  expect((await gateway.putTable("todos", TODOS, more)).status).toBe(200);
  expect((await gateway.putRules(rules)).status).toBe(200);
  return gateway;
}

/** Adds the table `docs`, with columns of the other types. */
export async function withDocs(gateway: TestGateway): Promise<void> {
  await gateway.putTable("docs", [
    { name: "body", type: "json" },
    { name: "blob", type: "bytes" },
    { name: "n", type: "number" },
    { name: "at", type: "timestamp" },
    { name: "must", type: "string", nullable: false },
  ]);
  await gateway.putRules([{ name: "all", tables: ["todos", "docs"] }]);
}

/** JSON text of arrays in arrays. */
export const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

export const delta = (op: string, rowId: string, cells: Json = {}, clock = hlc(), table = "todos") => ({
  op,
  table,
  rowId,
  hlc: clock,
  columns: Object.entries(cells).map(([column, value]) => ({ column, value })),
});

export const insert = (rowId: string, owner: string, cells: Json = {}, clock = hlc()) =>
  delta("INSERT", rowId, { title: rowId, done: false, owner, ...cells }, clock);

type PulledRow = {
  table: string;
  rowId: string;
  deleted?: boolean;
  removed?: boolean;
  columns?: { column: string; value: unknown; hlc: string; clientId: string }[];
};

export const cells = (row: PulledRow): Json => Object.fromEntries((row.columns ?? []).map((c) => [c.column, c.value]));

/** A device that keeps what it pulls, as a small program in JSON would. */
export class Device {
  readonly rows = new Map<string, Json>();
  cursor = "";
  resyncs = 0;
  pages = 0;
  readonly #gateway: TestGateway;
  readonly #sub: string;
  readonly #claims: Json;

  constructor(gateway: TestGateway, sub: string, claims: Json = {}) {
    this.#gateway = gateway;
    this.#sub = sub;
    this.#claims = claims;
  }

  /** Pulls until there is no more. @returns ids of the rows that came */
  async pull(more: Json = {}, claims = this.#claims): Promise<string[]> {
    const came: string[] = [];
    for (;;) {
      const { status, body } = await this.#gateway.pull(this.#sub, this.cursor, more, claims);
      expect(status, JSON.stringify(body)).toBe(200);
      this.pages++;
      if (body.resync) {
        this.resyncs++;
        this.rows.clear();
      }
      for (const row of (body.rows ?? []) as PulledRow[]) {
        came.push(row.rowId);
        const key = `${row.table}/${row.rowId}`;
        if (row.deleted || row.removed) this.rows.delete(key);
        else this.rows.set(key, { ...this.rows.get(key), ...cells(row) });
      }
      this.cursor = body.cursor;
      if (!body.hasMore) return came.sort();
    }
  }

  /** Rows as text, to compare with another device's. */
  get content(): string[] {
    const sorted = (row: Json) => JSON.stringify(Object.entries(row).sort());
    return [...this.rows].map(([key, row]) => `${key} ${sorted(row)}`).sort();
  }
}

/** A WebSocket that collects frames. */
export class TestSocket {
  readonly frames: proto.Frame[] = [];
  readonly texts: string[] = [];
  closed: { code: number; reason: string } | undefined;
  readonly #socket: WebSocket;
  #id = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.texts.push(data);
      else this.frames.push(unwrap(decodeMessage(proto.FrameSchema, new Uint8Array(data as ArrayBuffer))));
    });
    socket.addEventListener("close", ({ code, reason }) => {
      this.closed = { code, reason };
    });
    socket.accept();
    socket.binaryType = "arraybuffer";
  }

  static async open(gateway: TestGateway, token: string, more: Record<string, string> = {}): Promise<TestSocket> {
    const response = await SELF.fetch(`http://gateway/v1/${gateway.id}/ws`, {
      headers: { upgrade: "websocket", "sec-websocket-protocol": `lakesync.v1, bearer.${token}`, ...more },
    });
    expect(response.status).toBe(101);
    expect(response.headers.get("sec-websocket-protocol")).toBe("lakesync.v1");
    return new TestSocket(response.webSocket as WebSocket);
  }

  raw(data: string | Uint8Array): void {
    this.#socket.send(data);
  }

  /** Sends a frame and waits for its answer. */
  async ask(body: MessageInitShape<typeof proto.FrameSchema>["body"]): Promise<proto.Frame["body"]> {
    const id = ++this.#id;
    this.raw(encodeBinary(proto.FrameSchema, { id, ...(body && { body }) }));
    return (await this.wait(() => this.frames.find((f) => f.id === id))).body;
  }

  get pokes(): number {
    return this.frames.filter((f) => f.id === 0 && f.body.case === "poke").length;
  }

  async wait<T>(look: () => T | undefined | false): Promise<T> {
    return eventually(look);
  }

  close(): void {
    this.#socket.close(1000, "done");
  }
}

/** Looks again and again, for at most five seconds. */
export async function eventually<T>(look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  for (const until = Date.now() + 5000; ; await new Promise((done) => setTimeout(done, 5))) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`nothing came of: ${look}`);
  }
}
