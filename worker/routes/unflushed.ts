/** What the lake does not have yet, for who reads both (lakesync/analyst): edits from the logs of a table's shards. */
import { z } from "zod";
import { type HistoryText, historyOf, shardsOf } from "../../core/index.ts";
import { ask } from "../../durable-objects/index.ts";
import { deltasOf, LakeSyncError, parseIdentifier, type Seq, type TableSchema, unwrap } from "../../schemas/index.ts";
import type { AppContext } from "../context.ts";
import { readJson } from "../middleware/body.ts";

/** Seqs by shard. */
const unflushedBody = z.strictObject({
  after: z.record(z.string(), z.int().min(0)).default({}),
  to: z.record(z.string(), z.int().min(0)).default({}),
});

export async function unflushed(c: AppContext): Promise<Response> {
  const { gatewayId } = c.get("grant");
  const name = parseIdentifier("table name", c.req.param("table") ?? "");
  const { after, to } = await readJson(c, unflushedBody);
  const router = c.get("router");
  const state = unwrap(await router.freshState(gatewayId));
  const table = state.tables.find((t) => t.table === name);
  if (!table) throw new LakeSyncError("NotFound", `There is no table ${JSON.stringify(name)}; PUT its schema here.`);
  const shards = await Promise.all(
    shardsOf(state, [name]).map(async (shard) => {
      const address = { gatewayId, shard, version: state.version };
      const [from, until] = [(after[shard] ?? 0) as Seq, to[shard] as Seq | undefined];
      const asking = router.shard(gatewayId, shard).unflushed(address, name, from, until);
      const page = unwrap(await ask<UnflushedPage>("shard", asking));
      return { shard, to: page.to, more: page.more, edits: editsOf(table, page.page, from) };
    }),
  );
  return c.json({ shards });
}

interface UnflushedPage {
  readonly to: Seq;
  readonly page: readonly HistoryText[];
  readonly more: boolean;
}

/** [seq, received, hlc, client, op, row, cells by column id], in the order of seqs. */
function editsOf(table: TableSchema, page: readonly HistoryText[], after: Seq) {
  const ids = new Map(table.columns.map((column) => [column.name, column.id]));
  return page
    .map((text) => historyOf(table, text))
    .flatMap(({ seqs, receivedMs, batch }) =>
      [...deltasOf(batch)].flatMap(({ hlc, clientId, op, rowId, columns }, at) => {
        const cells = Object.fromEntries(Object.entries(columns).map(([column, value]) => [ids.get(column), value]));
        const seq = seqs[at] as Seq;
        return seq > after ? [[seq, receivedMs[at], hlc, clientId, op, rowId, cells]] : [];
      }),
    );
}
