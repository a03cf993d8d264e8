/** A run of maintenance over the two tables of a synced table, of a bounded size. */
import type { TableIdent } from "../../core/index.ts";
import { attempt, COMPACT_JOB_ROWS, type LakeSyncError, type Result, unwrap } from "../../schemas/index.ts";
import { identOf, KINDS, type LakeDeps, loadOrUndefined, type TableKind } from "../iceberg/index.ts";
import { type CompactOptions, compact } from "./compact.ts";
import { debtOf, type LakeDebt } from "./debt.ts";
import { type ExpireOptions, expireSnapshots } from "./expire.ts";
import { type OrphanOptions, removeOrphans } from "./orphans.ts";
import { rewriteManifests } from "./rewrite-manifests.ts";

/** Manifests of one content that a run leaves when it expires snapshots. */
const MANIFESTS_LEFT = 8;
/** Others may change the same files again and again; then another time. */
const RACES_MAX = 3;

export interface MaintainOptions {
  readonly compact?: CompactOptions;
  /** Left out: no expiry, no orphan removal in this run. */
  readonly expire?: ExpireOptions;
  readonly orphans?: OrphanOptions;
  /** Jobs of compaction are begun until so many rows were written. */
  readonly rows?: number;
}

export interface KindReport {
  /** Jobs of compaction, and what they did together. */
  readonly jobs: number;
  readonly rows: number;
  readonly filesIn: number;
  readonly filesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly snapshotsExpired: number;
  /** Files that were found to be without use, and those whose grace period was over. */
  readonly filesMarked: number;
  readonly filesDeleted: number;
  /** There may be more to compact. */
  readonly more: boolean;
  /** What is left to do. */
  readonly debt: LakeDebt;
}

export type MaintainReport = Readonly<Partial<Record<TableKind, KindReport>>>;

/** @returns a report for each of the two tables that is there. Errors: those of the parts; it may be called again */
export function maintain(
  deps: LakeDeps,
  table: string,
  options: MaintainOptions = {},
): Promise<Result<MaintainReport, LakeSyncError>> {
  return attempt(async () => {
    const reports: Partial<Record<TableKind, KindReport>> = {};
    let left = options.rows ?? COMPACT_JOB_ROWS;
    for (const kind of KINDS) {
      const ident = identOf(deps, table, kind);
      if (!(await loadOrUndefined(deps, ident))) continue;
      const report = await maintainOne(deps, ident, options, left);
      reports[kind] = report;
      left -= report.rows;
    }
    return reports;
  });
}

async function maintainOne(
  deps: LakeDeps,
  ident: TableIdent,
  options: MaintainOptions,
  rowsMax: number,
): Promise<KindReport> {
  const sum = { jobs: 0, rows: 0, filesIn: 0, filesOut: 0, bytesIn: 0, bytesOut: 0 };
  let more = true;
  for (let races = 0; more && races < RACES_MAX && sum.rows < rowsMax; ) {
    const { state, ...did } = unwrap(await compact(deps, ident, options.compact));
    if (state === "raced") races++;
    if (state === "nothing") more = false;
    if (state !== "compacted") continue;
    sum.jobs++;
    for (const key of ["rows", "filesIn", "filesOut", "bytesIn", "bytesOut"] as const) sum[key] += did[key];
  }
  const expired = { snapshots: 0, marked: 0, deleted: 0 };
  if (options.expire) {
    unwrap(await rewriteManifests(deps, ident, { manifestsMax: MANIFESTS_LEFT }));
    const done = unwrap(await expireSnapshots(deps, ident, options.expire));
    expired.snapshots = done.expired;
    expired.marked += done.marked;
    expired.deleted += done.deleted;
  }
  if (options.orphans) {
    const done = unwrap(await removeOrphans(deps, ident, options.orphans));
    expired.marked += done.marked;
    expired.deleted += done.deleted;
  }
  return {
    ...sum,
    snapshotsExpired: expired.snapshots,
    filesMarked: expired.marked,
    filesDeleted: expired.deleted,
    more,
    debt: unwrap(await debtOf(deps, ident)),
  };
}
