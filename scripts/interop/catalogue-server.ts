/** The embedded catalogue over HTTP on a loopback port, its files in a folder that other engines read by file://. */
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { Hono } from "hono";
import { NodeSqlStore } from "../../core/testing.ts";
import { type CatalogueServer, EmbeddedCatalogue } from "../../lake/index.ts";
import { FolderStore } from "../../lake/testing.ts";
import { LakeSyncError } from "../../schemas/index.ts";
import { icebergRoutes } from "../../worker/testing.ts";

/** Has the three parts of a JWT, as clients that ask for a token by OAuth want it. */
const TOKEN = "demo.admin.token";

export interface RunningCatalogue {
  /** Where engines attach, without /v1. */
  readonly uri: string;
  readonly token: string;
  readonly server: CatalogueServer;
  /** Requests that failed, as "METHOD path status body". */
  readonly failures: string[];
  close(): void;
}

/** Object stores have no folders; where they are folders, DuckDB expects that of a staged table to be there. */
class FolderCatalogue extends EmbeddedCatalogue {
  override async stageTable(...args: Parameters<CatalogueServer["stageTable"]>) {
    const staged = await super.stageTable(...args);
    if (staged.ok) await mkdir(fileURLToPath(`${staged.value.location}/metadata`), { recursive: true });
    return staged;
  }
}

export async function serveCatalogue(folder: string): Promise<RunningCatalogue> {
  const store = new FolderStore(folder);
  const sql = new NodeSqlStore();
  const server = new FolderCatalogue({ sql, store, gatewayId: "demo", clock: Date, newId: randomUUID });
  const routes = icebergRoutes({
    requireGateway(c) {
      if (c.req.header("Authorization") === `Bearer ${TOKEN}`) return { gatewayId: "demo", role: "admin" };
      throw new LakeSyncError("Unauthenticated", "Send the token.");
    },
    catalogueFor: () => server,
    report: (error) => console.error(error),
  });
  const app = new Hono().route("/iceberg", routes);
  const failures: string[] = [];

  const http = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const { method = "GET", url = "/" } = incoming;
    const headers = new Headers(incoming.headers as Record<string, string>);
    const body = chunks.length > 0 ? Buffer.concat(chunks) : null;
    const response = await app.fetch(new Request(`http://127.0.0.1${url}`, { method, headers, body }));
    const answer = Buffer.from(await response.arrayBuffer());
    if (response.status >= 400) failures.push(`${method} ${url} ${response.status} ${answer}`);
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(answer);
  });
  await new Promise<void>((listening) => http.listen(0, "127.0.0.1", listening));
  const { port } = http.address() as AddressInfo;
  return {
    uri: `http://127.0.0.1:${port}/iceberg`,
    token: TOKEN,
    server,
    failures,
    close() {
      http.close();
      http.closeAllConnections();
      sql.close();
    },
  };
}
