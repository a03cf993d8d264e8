/** `lakesync/compactor`: what keeps a lake healthy, for LakeSync's own tables and for others like them. */
export { type CompactOptions, type CompactSummary, compact } from "./compact.ts";
