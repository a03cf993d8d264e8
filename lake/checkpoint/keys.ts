/**
 * Where checkpoints lie:
 *
 *   <gateway>/_checkpoint/<shard>/manifest.json          which run is in force
 *                                 draft.json             how far a run came that has not ended
 *                                 <run>/chunks/<table>/<sha>  a chunk, as devices get it
 *                                 <run>/rest/<sha>       what a rebuild needs beside it
 *                                 <run>/index/<sha>      a run of an index
 *
 * Rows that have left their shard lie likewise in <gateway>/_cold/<shard>/<run>.
 *
 * A run's objects are its own: what an older one left can go without a look at the newer.
 */

const RUN = /^[a-z0-9]{1,12}-[a-z0-9]{8}$/;
const SHA = /^[0-9a-f]{64}$/;

/** All names come out of manifests, or are checked by `isChunkName`. */
export interface CheckpointPlace {
  readonly gatewayId: string;
  readonly shard: string;
  /** Of rows that have left their shard (decision 0052): no checkpoint's, and not removed with one. */
  readonly cold?: boolean;
}

export const checkpointFolder = ({ gatewayId, shard, cold }: CheckpointPlace): string =>
  `${gatewayId}/${cold ? "_cold" : "_checkpoint"}/${shard}/`;
export const manifestKey = (place: CheckpointPlace): string => `${checkpointFolder(place)}manifest.json`;
export const draftKey = (place: CheckpointPlace): string => `${checkpointFolder(place)}draft.json`;

export const objectKey = (place: CheckpointPlace, run: string, folder: string, name: string): string =>
  `${checkpointFolder(place)}${run}/${folder}/${name}`;

/** A table may be called "rest": its chunks have a folder of their own. */
export const chunkKey = (place: CheckpointPlace, run: string, table: string, name: string): string =>
  objectKey(place, run, `chunks/${table}`, name);

export const isRun = (text: string): boolean => RUN.test(text);
export const isObjectName = (text: string): boolean => SHA.test(text);

/** @param chance eight characters that no other run has */
export const newRun = (nowMs: number, chance: string): string => `${nowMs.toString(36)}-${chance}`;
/** When a run began. */
export const runStartMs = (run: string): number => Number.parseInt(run.split("-")[0] ?? "", 36);
