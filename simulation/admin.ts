/** Whoever runs the gateway: changes tables and rules over HTTP, over a bad network, and does not give up. */
import type { SyncRules, TableDefinition } from "../schemas/index.ts";
import { signToken } from "./fakes/jose.ts";
import { Process } from "./kernel/process.ts";
import type { Scheduler } from "./kernel/scheduler.ts";
import { GATEWAY, type Gateway } from "./world/gateway.ts";
import { Link } from "./world/link.ts";
import type { Network } from "./world/network.ts";

const RETRY_MS = 1500;
const TIMEOUT_MS = 20_000;

export class Admin {
  readonly #link: Link;
  readonly #scheduler: Scheduler;
  readonly #process = new Process("admin");
  readonly #note: (who: string, what: string) => void;
  /** By method: what was asked last. */
  readonly #queues = new Map<string, Promise<unknown>>();
  /** Requests that wait to be answered. */
  waiting = 0;

  constructor(network: Network, gateway: Gateway, note: (who: string, what: string) => void) {
    this.#link = new Link(network, gateway);
    this.#scheduler = network.scheduler;
    this.#note = note;
  }

  putTable(table: string, definition: TableDefinition): Promise<unknown> {
    return this.#ask("PUT", `tables/${table}`, definition);
  }

  async putRules(rules: SyncRules): Promise<number> {
    return ((await this.#ask("PUT", "sync-rules", rules)) as { version: number }).version;
  }

  /** Again and again, until the shard is in service; that it is not empty any more, or not there, says that an answer was lost. */
  async rebuild(shard: string): Promise<void> {
    for (let state = "more"; state === "more"; ) {
      const done = (await this.#ask("POST", "rebuild", { shard }, /not empty|status lists them/)) as {
        shards?: { state: string }[];
      };
      state = done.shards?.[0]?.state ?? "rebuilt";
    }
  }

  /** One thing after another, each until it is done; but a move may wait for a rebuild, so that this waits for no move. */
  #ask(method: string, path: string, body: unknown, enough?: RegExp): Promise<unknown> {
    this.waiting++;
    const before = this.#queues.get(method) ?? Promise.resolve();
    const turn = before.then(() => this.#insist(method, path, body, enough)).finally(() => this.waiting--);
    this.#queues.set(method, turn);
    return turn;
  }

  /** @param enough an answer that says so is one, too */
  async #insist(method: string, path: string, body: unknown, enough?: RegExp): Promise<unknown> {
    for (;;) {
      const answer = await this.#try(method, path, body);
      this.#note("admin", `${method} ${path}: ${answer.status}`);
      if (answer.status === 200) return answer.body;
      if (enough?.test(JSON.stringify(answer.body))) return {};
      if (answer.status >= 400 && answer.status < 500 && answer.status !== 409)
        throw new Error(`The admin is told ${answer.status}: ${JSON.stringify(answer.body)}`);
      await this.#scheduler.sleep(RETRY_MS);
    }
  }

  async #try(method: string, path: string, body: unknown): Promise<{ status: number; body: unknown }> {
    const token = signToken({ gw: GATEWAY, sub: "root", role: "admin" }, 2 ** 33);
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const bytes = new TextEncoder().encode(JSON.stringify(body));
    const late = this.#scheduler.sleep(TIMEOUT_MS).then(() => ({ status: 0, body: "no answer" }));
    const asked = this.#link
      .fetch(this.#process, `http://gateway/v1/${GATEWAY}/admin/${path}`, { method, headers, body: bytes })
      .then(async (response) => {
        const text = new TextDecoder().decode(await response.arrayBuffer());
        return { status: response.status, body: JSON.parse(text) as unknown };
      })
      .catch(() => ({ status: 0, body: "lost" }));
    return Promise.race([asked, late]);
  }
}
