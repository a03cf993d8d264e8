/** The gateway under test, in workerd: every request goes through the Worker's own door. */
import { env, SELF } from "cloudflare:test";
import { SignJWT } from "jose";
import type { Env } from "../../durable-objects/index.ts";

const secret = new TextEncoder().encode((env as unknown as Env).JWT_SECRET);
let count = 0;

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape are looked into
  readonly body: any;
}

export async function signToken(claims: Json, options: { exp?: string; alg?: string } = {}): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: options.alg ?? "HS256" })
    .setExpirationTime(options.exp ?? "1h")
    .sign(secret);
}

/** One tenant of its own for each test. */
export class TestGateway {
  readonly id = `t${++count}`;

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
    const response = await SELF.fetch(new Request(`http://gateway/v1/${this.id}${path}`, init));
    const text = await response.text();
    const json = response.headers.get("content-type")?.startsWith("application/json");
    return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text };
  }

  async putTable(name: string, columns: Json[], more: Json = {}): Promise<Answer> {
    return this.request(await this.admin(), "PUT", `/admin/tables/${name}`, { columns, ...more });
  }

  async putRules(buckets: Json[]): Promise<Answer> {
    return this.request(await this.admin(), "PUT", "/admin/sync-rules", { buckets });
  }

  async push(sub: string, clientId: string, deltas: Json[], claims: Json = {}): Promise<Answer> {
    return this.request(await this.token(sub, claims), "POST", "/push", { clientId, deltas });
  }

  async pull(sub: string, cursor = "", more: Json = {}, claims: Json = {}): Promise<Answer> {
    return this.request(await this.token(sub, claims), "POST", "/pull", { clientId: `${sub}-device`, cursor, ...more });
  }
}

/** An HLC as JSON has it: a decimal string. @param millis since 1970; now when left out */
export const hlc = (counter = 0, millis = Date.now()): string => ((BigInt(millis) << 16n) + BigInt(counter)).toString();
