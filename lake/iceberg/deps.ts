/** What the lake needs of the world, clock and chance included. */
import type { Catalogue, Clock, LakeAdapter } from "../../core/index.ts";

export interface LakeDeps {
  readonly store: LakeAdapter;
  readonly catalogue: Catalogue;
  readonly clock: Clock;
  /** A number in [0, 1), anew at each call: `Math.random` in composition roots, seeded in the simulation. */
  chance(): number;
  /** Resolves after so many milliseconds. */
  sleep(milliseconds: number): Promise<void>;
  /** Called between any two steps; a test makes it throw to kill the work there. */
  fault?(point: FaultPoint): Promise<void>;
  /** Where synced tables live; ["app"] when left out. */
  readonly namespace?: readonly string[];
}

/** Every point at which a flush can be killed, in the order in which it passes them, once for each of its two tables. */
export const FAULT_POINTS = [
  "flush: before the table is ready",
  "flush: after the table is ready, before data files",
  "flush: after data files, before positions are looked up",
  "flush: after delete files, before manifests",
  "flush: after manifests, before the commit",
  "commit: after the manifest list, before the catalogue",
  "commit: after the catalogue, before the answer",
  "flush: between history and rows",
  "flush: after the commits, before the receipt",
] as const;

/** Every point at which maintenance can be killed, beside those of the commit. */
export const MAINTENANCE_FAULT_POINTS = [
  "compact: after the plan, before data files",
  "compact: after a part of a data file",
  "compact: after data files, before deletes are resolved again",
  "compact: after delete files, before manifests",
  "compact: after manifests, before the commit",
  "expire: after the plan, before the commit",
  "expire: after the commit, before the mark",
  "orphans: after the listing, before the mark",
  "sweep: after the look, before files go",
  "sweep: after files went, before the mark goes",
  "manifests: after manifests, before the commit",
] as const;
export type FaultPoint = (typeof FAULT_POINTS)[number] | (typeof MAINTENANCE_FAULT_POINTS)[number];

export const fault = async (deps: LakeDeps, point: FaultPoint): Promise<void> => deps.fault?.(point);

export const DEFAULT_NAMESPACE: readonly string[] = ["app"];
