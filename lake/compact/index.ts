/** `lakesync/compactor`: what keeps a lake healthy, for LakeSync's own tables and for others like them. */
export { type CompactOptions, compact } from "./compact.ts";
