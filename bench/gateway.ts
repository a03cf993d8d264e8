/** A device and an admin of the gateway under measurement, as raw requests: no SDK takes part. */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { SignJWT } from "jose";
import { encodeBatch, PROTOBUF, proto } from "../schemas/index.ts";
import { SECRET, type World } from "./harness.ts";
import { sendOk } from "./http.ts";
import { COLUMNS, type Edit, RULES, TABLE, toBatch, USER } from "./rows.ts";

const BINARY = { "content-type": PROTOBUF, accept: PROTOBUF };

export async function signToken(gatewayId: string, sub: string, role: "client" | "admin"): Promise<string> {
  const key = new TextEncoder().encode(SECRET);
  const token = new SignJWT({ gw: gatewayId, sub, role }).setProtectedHeader({ alg: "HS256" });
  return token.setExpirationTime("6h").sign(key);
}

export class Gateway {
  readonly id: string;
  readonly #world: World;
  readonly #token: string;
  readonly #adminToken: string;

  private constructor(world: World, id: string, token: string, adminToken: string) {
    this.#world = world;
    this.id = id;
    this.#token = token;
    this.#adminToken = adminToken;
  }

  /** A new tenant with the table and the rule of the benchmarks. @param shards 0 for the tenant's common one */
  static async open(world: World, id: string, shards = 0): Promise<Gateway> {
    const gateway = new Gateway(world, id, await signToken(id, USER, "client"), await signToken(id, "root", "admin"));
    const columns = COLUMNS.map((c) => ({ ...c }));
    await gateway.admin("PUT", `tables/${TABLE}`, shards > 0 ? { columns, shards } : { columns });
    await gateway.admin("PUT", "sync-rules", RULES);
    return gateway;
  }

  url(path: string): URL {
    return new URL(`/v1/${this.id}/${path}`, this.#world.gateway);
  }

  get token(): string {
    return this.#token;
  }

  // biome-ignore lint/suspicious/noExplicitAny: answers of several routes
  async admin(method: string, path: string, body?: unknown): Promise<any> {
    const headers = { authorization: `Bearer ${this.#adminToken}`, "content-type": "application/json" };
    const text = body === undefined ? undefined : JSON.stringify(body);
    return JSON.parse((await sendOk(method, this.url(`admin/${path}`), headers, text)).toString("utf8"));
  }

  /** A push's body as the SDK sends it: one columnar batch. */
  encodePush(edits: readonly Edit[], clientId = "device-1"): Uint8Array {
    const batches = [encodeBatch(toBatch(edits))];
    return toBinary(proto.PushRequestSchema, create(proto.PushRequestSchema, { clientId, batches }));
  }

  /** Sends a push and looks that all of it was taken. */
  async push(body: Uint8Array, count: number): Promise<proto.PushResponse> {
    const headers = { ...BINARY, authorization: `Bearer ${this.#token}` };
    const answer = fromBinary(proto.PushResponseSchema, await sendOk("POST", this.url("push"), headers, body));
    if (answer.acceptedCount === count) return answer;
    throw new Error(`${answer.acceptedCount} of ${count} deltas were taken: ${answer.rejected[0]?.message}`);
  }

  /** One page, with its bytes on the wire. */
  async pull(request: MessageInitShape<typeof proto.PullRequestSchema>): Promise<[proto.PullResponse, number]> {
    const headers = { ...BINARY, authorization: `Bearer ${this.#token}` };
    const message = create(proto.PullRequestSchema, { clientId: "device-2", columnar: true, ...request });
    const body = await sendOk("POST", this.url("pull"), headers, toBinary(proto.PullRequestSchema, message));
    return [fromBinary(proto.PullResponseSchema, body), body.byteLength];
  }
}
