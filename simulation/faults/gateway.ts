/**
 * The gateway's process, to be killed: `node gateway.ts '<JSON of GatewayJob>'`. It prints the port of a bucket reader once
 * the gateway answers: what an engine of the lake reads files with.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { GatewayServer } from "../../server/index.ts";

export interface GatewayJob {
  readonly port: number;
  readonly gatewayId: string;
  readonly jwtSecret: string;
  readonly directory: string;
  readonly vars: Readonly<Record<string, string>>;
}

const job = JSON.parse(process.argv[2] ?? "{}") as GatewayJob;
const server = new GatewayServer({
  ...job,
  persistence: "sqlite",
  entry: join(import.meta.dirname, "worker.ts"),
  cronMs: 15_000,
});
await server.start();
const bucket = await server.lake();
const reader = createServer(async (request, response) => {
  const key = decodeURIComponent((request.url ?? "/").slice(1));
  try {
    const object = await bucket.get(key);
    if (object) response.end(Buffer.from(await object.arrayBuffer()));
    else response.writeHead(404).end();
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});
reader.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ bucket: (reader.address() as AddressInfo).port })));
