/** What maintenance of a table would find to do, by its manifests alone. */
import type { TableIdent } from "../../core/index.ts";
import {
  attempt,
  COMPACT_TARGET_BYTES,
  COMPACT_TARGET_ROWS,
  type LakeSyncError,
  type Result,
} from "../../schemas/index.ts";
import { type LakeDeps, loadOrUndefined } from "../iceberg/index.ts";
import { entriesOf, ManifestCache } from "./tables.ts";

export interface LakeDebt {
  readonly dataFiles: number;
  /** Of these, less than half as large as compaction would have them. */
  readonly smallFiles: number;
  readonly rows: number;
  readonly deleteFiles: number;
  /** Rows in delete files. */
  readonly deletes: number;
  /** Of the files of the current snapshot. */
  readonly bytes: number;
  readonly manifests: number;
  readonly snapshots: number;
}

/** Of a table that is not there: nothing. */
export function debtOf(deps: LakeDeps, ident: TableIdent): Promise<Result<LakeDebt, LakeSyncError>> {
  return attempt(async () => {
    const loaded = await loadOrUndefined(deps, ident);
    const manifests = loaded ? await new ManifestCache(deps.store).current(loaded.metadata) : [];
    const files = entriesOf(manifests, "data").map((entry) => entry.data_file);
    const deletes = entriesOf(manifests, "deletes").map((entry) => entry.data_file);
    const sum = (of: typeof files, by: "record_count" | "file_size_in_bytes") =>
      of.reduce((total, file) => total + file[by], 0);
    const isSmall = (file: (typeof files)[number]) =>
      file.record_count < COMPACT_TARGET_ROWS / 2 && file.file_size_in_bytes < COMPACT_TARGET_BYTES / 2;
    return {
      dataFiles: files.length,
      smallFiles: files.filter(isSmall).length,
      rows: sum(files, "record_count"),
      deleteFiles: deletes.length,
      deletes: sum(deletes, "record_count"),
      bytes: sum([...files, ...deletes], "file_size_in_bytes"),
      manifests: manifests.length,
      snapshots: loaded?.metadata.snapshots?.length ?? 0,
    };
  });
}
