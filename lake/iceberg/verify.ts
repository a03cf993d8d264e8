/** What the lake really holds of a table, beside what the shards said of their rows when they were flushed (V1). */
import { contentDigest, TableDigest } from "../../core/index.ts";
import { type HlcText, hlcFromBigInt, type Scalar, type TableSchema } from "../../schemas/index.ts";
import type { LakeDeps } from "./deps.ts";
import { fieldNamed, fieldsOf, identOf } from "./layout.ts";
import { currentSchema } from "./manifest.ts";
import { scanSnapshot } from "./scan.ts";
import { loadOrUndefined } from "./tables.ts";
import { currentSnapshot, digestsOf } from "./watermark.ts";

interface LakeContent {
  /** Rows and content, counted by reading every row. */
  readonly counted: string;
  /** What the newest flush of each shard said, by shard. */
  readonly said: Readonly<Record<string, string>>;
}

/** Reads the whole table, a row group at a time; undefined when the lake has none yet. */
export async function lakeContent(deps: LakeDeps, table: TableSchema): Promise<LakeContent | undefined> {
  const loaded = await loadOrUndefined(deps, identOf(deps, table.table, "main"));
  if (!loaded) return undefined;
  const { metadata } = loaded;
  const fields = fieldsOf(currentSchema(metadata), "main");
  const own = [fieldNamed(fields, "_id"), fieldNamed(fields, "_hlc")];
  const users = table.columns.flatMap(({ id, name }) => {
    const field = fields.find(({ columnId }) => columnId === id);
    return field ? [{ name, field }] : [];
  });
  const digest = new TableDigest();
  const columns = [...own, ...users.map(({ field }) => field)];
  for await (const batch of scanSnapshot(deps.store, currentSnapshot(metadata), { columns })) {
    const [ids = [], hlcs = [], ...cells] = batch.columns;
    ids.forEach((id, at) => {
      const named = users.map(({ name }, column) => [name, (cells[column]?.[at] ?? null) as Scalar] as const);
      digest.add(contentDigest(id as string, hlcText(hlcs[at] as string | number), named));
    });
  }
  return { counted: digest.content, said: digestsOf(metadata) };
}

const hlcText = (long: string | number): HlcText => hlcFromBigInt(BigInt.asUintN(64, BigInt(long))) as HlcText;
