/** Counts in a snapshot's summary (Iceberg spec, "Snapshots", Appendix F): what was added, and the totals after it. */
import { CONTENT, type DataFile } from "./files.ts";

export interface Counts {
  readonly addedFiles: readonly DataFile[];
  /** Files that are no longer part of the table. */
  readonly removedFiles?: readonly DataFile[];
}

const NAMES = {
  "data-files": (file: DataFile) => Number(file.content === CONTENT.data),
  records: (file: DataFile) => (file.content === CONTENT.data ? file.record_count : 0),
  "delete-files": (file: DataFile) => Number(file.content !== CONTENT.data),
  "position-deletes": (file: DataFile) => (file.content === CONTENT.positionDeletes ? file.record_count : 0),
  "equality-deletes": (file: DataFile) => (file.content === CONTENT.equalityDeletes ? file.record_count : 0),
  "files-size": (file: DataFile) => file.file_size_in_bytes,
} as const;

/** In a change, records that go with their file are called deleted, files and deletes removed. */
const removedName = (name: string): string =>
  name === "data-files" || name === "records" ? `deleted-${name}` : `removed-${name}`;

export function summaryTotals(
  parent: Readonly<Record<string, string>> | undefined,
  counts: Counts,
): Record<string, string> {
  const summary: Record<string, string> = {};
  const sum = (files: readonly DataFile[], of: (file: DataFile) => number) =>
    files.reduce((total, file) => total + of(file), 0);
  for (const [name, of] of Object.entries(NAMES)) {
    const added = sum(counts.addedFiles, of);
    const removed = sum(counts.removedFiles ?? [], of);
    if (added > 0) summary[`added-${name}`] = String(added);
    if (removed > 0) summary[removedName(name)] = String(removed);
    summary[`total-${name}`] = String(Number(parent?.[`total-${name}`] ?? 0) + added - removed);
  }
  summary["changed-partition-count"] = counts.addedFiles.length + (counts.removedFiles?.length ?? 0) > 0 ? "1" : "0";
  return summary;
}
