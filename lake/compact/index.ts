/**
 * `lakesync/compactor`: what keeps a lake healthy, for LakeSync's own tables and for others like them. Each does a bounded
 * amount of work, keeps no state, and may be killed anywhere and called again.
 */

export { DeleteIndex, readPositionDeletes } from "../iceberg/delete-index.ts";
export { type EqualityDelete, readEqualityDeletes, writeEqualityDeletes } from "../iceberg/equality-deletes.ts";
export { writePositionDeletes } from "../iceberg/position-deletes.ts";
export { type CompactOptions, type CompactSummary, compact } from "./compact.ts";
export { debtOf, type LakeDebt } from "./debt.ts";
export { type ExpireOptions, type ExpireSummary, expiredSnapshots, expireSnapshots } from "./expire.ts";
export { type KindReport, type MaintainOptions, type MaintainReport, maintain } from "./maintain.ts";
export { type OrphanOptions, type OrphanSummary, removeOrphans } from "./orphans.ts";
export { type RewriteManifestsOptions, type RewriteManifestsSummary, rewriteManifests } from "./rewrite-manifests.ts";
