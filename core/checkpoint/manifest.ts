/** What a checkpoint consists of. The manifest is the one object that is ever replaced. */
import { z } from "zod";

const chunkSchema = z.object({
  /** SHA-256 of the object, in hex: its name. */
  name: z.string(),
  /** Rows that are alive. */
  rows: z.int(),
  /** Edits, which is what a device installs; none where all rows are dead. */
  entries: z.int(),
  /** Of the object, compressed. */
  bytes: z.int(),
  /** Name of what only a rebuild needs. */
  rest: z.string(),
});
export type ChunkInfo = z.infer<typeof chunkSchema>;

const tableSchema = z.object({
  table: z.string(),
  rows: z.int(),
  /** Of the table's rows at the checkpoint's seq (V1); absent in manifests from before there were any. */
  digest: z.string().optional(),
  chunks: z.array(chunkSchema),
  /** Rows that changed while the others were read; to be installed after them. */
  late: z.array(chunkSchema),
  /** Name of the list of what has left of the table; absent where nothing has. */
  cold: z.string().optional(),
  /** Names of the runs of each indexed column's index. */
  indexes: z.array(z.object({ columnId: z.int(), runs: z.array(z.string()) })),
});
export type TableCheckpoint = z.infer<typeof tableSchema>;

export const manifestSchema = z.object({
  format: z.literal(2),
  shard: z.string(),
  /** Every row is as it was here; a device goes on from here. */
  seq: z.int(),
  /** Of the shard map: rows that moved are in no change list. */
  mapVersion: z.int(),
  /** Milliseconds since 1970. */
  atMs: z.int(),
  /** Folder of the objects. */
  run: z.string(),
  tables: z.array(tableSchema),
  /** Name of what was known of clients' clocks; absent in manifests from before there was any. */
  clocks: z.string().optional(),
  /** Checkpoints before this one, kept for downloads under way until some time. */
  previous: z.array(z.object({ run: z.string(), untilMs: z.int() })),
});
export type CheckpointManifest = z.infer<typeof manifestSchema>;
