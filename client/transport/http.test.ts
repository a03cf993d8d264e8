import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { gunzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, expect, test } from "vitest";
import {
  decodeBatch,
  encodeBatch,
  hlcToBigInt,
  type LakeSyncError,
  packHlc,
  proto,
  unwrap,
} from "../../schemas/index.ts";
import { HttpTransport, LocalDB, SyncCoordinator, type TokenSource } from "../index.ts";
import { testGateway } from "../testing.ts";

const TABLES = { todos: { title: "string" } } as const;
const SCHEMA = { todos: { title: { type: "string" } } } as const;

let server: Server | undefined;
afterEach(() => {
  server?.close();
  server = undefined;
});

/** A gateway over real HTTP: the wire's own runtime on this side. */
async function serve(intercept: (request: IncomingMessage, response: ServerResponse) => boolean = () => false) {
  const gateway = testGateway(TABLES);
  const seen: { url: string; encoding: string | undefined; authorization: string | undefined }[] = [];
  const local = gateway.as();
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { "content-encoding": encoding, authorization } = request.headers;
    seen.push({ url: request.url ?? "", encoding, authorization });
    if (intercept(request, response)) return;
    if (request.method === "GET") {
      response.writeHead(404).end();
      return;
    }
    const raw = Buffer.concat(chunks);
    const body = new Uint8Array(encoding === "gzip" ? gunzipSync(raw) : raw);
    const answer = request.url?.endsWith("/push") ? await push(body) : await pull(body);
    response.setHeader("content-type", "application/x-protobuf").end(answer);
  });
  const push = async (body: Uint8Array) => {
    const { clientId, batches } = fromBinary(proto.PushRequestSchema, body);
    const decoded = batches.map((b) => unwrap(decodeBatch(b, clientId as never)));
    const answer = await local.push({ clientId: clientId as never, batches: decoded });
    const rejected = answer.rejected.map((r) => ({ ...r, hlc: hlcToBigInt(r.hlc) }));
    const serverHlc = hlcToBigInt(answer.serverHlc);
    return toBinary(
      proto.PushResponseSchema,
      create(proto.PushResponseSchema, { rejected, serverHlc, cursorHint: answer.cursorHint }),
    );
  };
  const pull = async (body: Uint8Array) => {
    const { clientId, cursor, maxBytes, columnar } = fromBinary(proto.PullRequestSchema, body);
    expect(columnar).toBe(true);
    const page = await local.pull({ clientId: clientId as never, cursor, maxBytes });
    const { hasMore, resync } = page;
    return toBinary(
      proto.PullResponseSchema,
      create(proto.PullResponseSchema, {
        batches: page.batches.map(encodeBatch),
        cursor: page.cursor,
        hasMore,
        resync,
        serverHlc: hlcToBigInt(packHlc(Date.now(), 0)),
      }),
    );
  };
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const device = async (token: TokenSource = "t", timeoutMs = 5000) => {
    const db = await LocalDB.open({ name: "d", backend: "memory", schema: SCHEMA });
    const baseUrl = `http://127.0.0.1:${port}/`;
    return new SyncCoordinator(db, new HttpTransport({ baseUrl, gatewayId: "test", token, timeoutMs }));
  };
  return { gateway, seen, device };
}

const fails = (promise: Promise<unknown>): Promise<LakeSyncError> =>
  promise.then(
    () => Promise.reject(new Error("it did not fail")),
    (error) => error,
  );

test("two devices sync over HTTP, large bodies zipped", async () => {
  const { seen, device } = await serve();
  const [a, b] = [await device(), await device()];
  await a.tracker.insertMany(
    "todos",
    Array.from({ length: 2500 }, (_, n) => [`r${n}`, { title: `zażółć ${n}` }]),
  );
  await a.syncOnce();
  await b.syncOnce();
  const rows = await a.db.query("SELECT * FROM todos ORDER BY id");
  expect(rows).toHaveLength(2500);
  expect(await b.db.query("SELECT * FROM todos ORDER BY id")).toEqual(rows);
  expect(seen[0]).toEqual({ url: "/v1/test/push", encoding: "gzip", authorization: "Bearer t" });
});

test("[C7] a 401 costs one fresh token and one retry, not data", async () => {
  let valid = "new";
  const { gateway, seen, device } = await serve((request, response) => {
    if (request.headers.authorization === `Bearer ${valid}`) return false;
    response.writeHead(401).end(JSON.stringify({ error: { code: "Unauthenticated", message: "expired" } }));
    return true;
  });
  const asked: boolean[] = [];
  const sync = await device(({ stale }) => {
    asked.push(stale);
    return stale ? "new" : "old";
  });
  await sync.tracker.insert("todos", "1", { title: "milk" });
  await sync.syncOnce();
  expect([...gateway.rows("todos").keys()]).toEqual(["1"]);
  // The push, the question for a checkpoint, the pull.
  expect(asked).toEqual([false, true, false, true, false, true]);
  valid = "none";
  await sync.tracker.insert("todos", "2", { title: "bread" });
  seen.length = 0;
  expect((await fails(sync.syncOnce())).code).toBe("Unauthenticated");
  expect(seen).toHaveLength(2);
  expect((await sync.status()).pending).toBe(1);
  valid = "new";
  await sync.syncOnce();
  expect([...gateway.rows("todos").keys()].sort()).toEqual(["1", "2"]);
});

test("[C9] errors of the gateway keep their code, those of anything in between are weather", async () => {
  let answer: (response: ServerResponse) => void = () => undefined;
  const { device } = await serve((_, response) => {
    answer(response);
    return true;
  });
  const sync = await device("t", 200);
  await sync.tracker.insert("todos", "1", { title: "milk" });
  const error = async (respond: typeof answer) => {
    answer = respond;
    return fails(sync.syncOnce());
  };
  const full = await error((r) => {
    const body = create(proto.ErrorBodySchema, { code: "LogFull", message: "full", retryAfterSeconds: 7 });
    r.writeHead(429, { "content-type": "application/x-protobuf" }).end(toBinary(proto.ErrorBodySchema, body));
  });
  expect([full.code, full.details.retryAfterMs]).toEqual(["LogFull", 7000]);
  const limited = await error((r) =>
    r.writeHead(429, { "retry-after": "3" }).end(JSON.stringify({ error: { code: "RateLimited", message: "slow" } })),
  );
  expect([limited.code, limited.details.retryAfterMs]).toEqual(["RateLimited", 3000]);
  expect((await error((r) => r.writeHead(400).end("<html>captive portal</html>"))).code).toBe("Unavailable");
  expect((await error((r) => r.end("<html>captive portal</html>"))).code).toBe("Unavailable");
  expect((await error((r) => r.destroy())).code).toBe("Network");
  expect((await error(() => undefined)).code).toBe("Timeout");
  expect(await sync.rejections()).toEqual([]);
  expect((await sync.status()).pending).toBe(1);
});
