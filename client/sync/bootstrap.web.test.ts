/** A first sync into a browser's storage whose tab is killed at any moment: the next goes on where it was, and ends right. */
import { describe, expect, test } from "vitest";
import { type ClientId, type DeltaBatch, DeltaBatchBuilder, encodeChunk, packHlc } from "../../schemas/index.ts";
import { type Checkpoint, LocalDB, type LocalGateway, LocalTransport, SyncCoordinator } from "../index.ts";
import { recordWorkers } from "../testing/workers.ts";

const SCHEMA = { todos: { title: { type: "string" }, rank: { type: "integer" } } } as const;
const T0 = Date.UTC(2026, 0, 1);
const CHUNKS = 12;
const ROWS = 1500;

const workers = recordWorkers();

function batchOf(chunk: number): DeltaBatch {
  const builder = new DeltaBatchBuilder("todos");
  for (let at = 0; at < ROWS; at++) {
    const n = chunk * ROWS + at;
    const cells = { title: `title ${n}`, rank: n };
    builder.add("I", `row-${String(n).padStart(6, "0")}`, packHlc(T0 + chunk, at), "other" as ClientId, cells);
  }
  return builder.build();
}

async function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A gateway that holds rows in chunks, and nothing after them. */
async function filled(): Promise<{ gateway: LocalGateway; asked: string[] }> {
  const bodies = new Map<string, Uint8Array>();
  for (let chunk = 0; chunk < CHUNKS; chunk++) bodies.set(`c${chunk}`, await gzip(encodeChunk([batchOf(chunk)])));
  const chunks = [...bodies].map(([name, body]) => ({ name, rows: ROWS, bytes: body.length }));
  const checkpoint: Checkpoint = { cursor: "behind", chunks, rows: CHUNKS * ROWS };
  const asked: string[] = [];
  const gateway: LocalGateway = {
    checkpoint: async () => checkpoint,
    chunk: async (name) => {
      asked.push(name);
      return bodies.get(name) as Uint8Array;
    },
    push: ({ batches }) => ({ rejected: [], serverHlc: packHlc(Date.now(), 0), cursorHint: batches.length ? "x" : "" }),
    pull: ({ cursor }) => {
      expect(cursor).toBe("behind");
      return { batches: [], cursor, hasMore: false, resync: false, serverHlc: packHlc(Date.now(), 0) };
    },
  };
  return { gateway, asked };
}

describe.each(["opfs", "idb"] as const)("first sync on %s", (backend) => {
  /** Installs `chunks` chunks, and is killed a little later: somewhere in the next one. */
  async function killedAfter(chunks: number, name: string, gateway: LocalGateway): Promise<void> {
    const db = await LocalDB.open({ name, backend, schema: SCHEMA });
    const worker = workers.at(-1);
    const sync = new SyncCoordinator(db, new LocalTransport(gateway));
    let installed = 0;
    await new Promise<void>((resolve) => {
      sync.on("firstSync", () => {
        if (++installed === chunks) setTimeout(resolve, (chunks - 1) * 7);
      });
      sync.startAutoSync();
    });
    worker?.terminate();
    sync.stopAutoSync(); // with its tab, a round's lock would go
  }

  test.each([0, 1, 2, 3])(
    "[CK2] [C2] killed in the middle of a chunk (%i), it goes on with the chunk that is missing",
    async (kill) => {
      const { gateway, asked } = await filled();
      const name = `bootstrap-${backend}-${kill}-${Date.now()}`;
      await killedAfter(1 + kill, name, gateway);
      if (kill === 0) for (let again = 0; again < 3; again++) await killedAfter(1, name, gateway);
      asked.length = 0;
      const db = await LocalDB.open({ name, backend, schema: SCHEMA });
      const [{ n = 0 } = {}] = await db.query<{ n: number }>("SELECT count(*) AS n FROM todos");
      expect(n % ROWS).toBe(0); // whole chunks, or none
      expect(n).toBeGreaterThanOrEqual((1 + kill) * ROWS);
      await new SyncCoordinator(db, new LocalTransport(gateway)).syncOnce();
      expect(asked).toHaveLength(CHUNKS - n / ROWS);
      expect(await db.query("SELECT count(*) AS n, sum(rank) AS s, count(DISTINCT title) AS t FROM todos")).toEqual([
        { n: CHUNKS * ROWS, s: (CHUNKS * ROWS * (CHUNKS * ROWS - 1)) / 2, t: CHUNKS * ROWS },
      ]);
      // What the app writes is tracked as ever.
      await db.exec("INSERT INTO todos (id, title) VALUES ('own', 'own')");
      expect(await db.query("SELECT row_id FROM lakesync_outbox")).toEqual([{ row_id: "own" }]);
      await db.close();
    },
  );
});
