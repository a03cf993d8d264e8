/**
 * An Iceberg catalogue: the pointer to each table's current metadata, moved by compare-and-swap. The shapes are those of
 * the Iceberg REST specification (https://iceberg.apache.org/rest-catalog-spec/) and table specification.
 */
import type { LakeSyncError, Result } from "../../schemas/index.ts";

export interface TableIdent {
  readonly namespace: readonly string[];
  readonly name: string;
}

/** Table metadata as in metadata.json, 64-bit numbers that may exceed 2^53 as bigint. Format version 2. */
export type TableMetadata = Readonly<Record<string, unknown>> & {
  readonly "format-version": number;
  readonly "table-uuid": string;
  readonly location: string;
  readonly "last-sequence-number": number;
  readonly "last-updated-ms": number;
  readonly "last-column-id": number;
  readonly "current-schema-id": number;
  readonly schemas: readonly IcebergSchema[];
  readonly "default-spec-id": number;
  readonly "partition-specs": readonly PartitionSpec[];
  readonly "last-partition-id": number;
  readonly "default-sort-order-id": number;
  readonly "sort-orders": readonly SortOrder[];
  readonly properties?: Readonly<Record<string, string>>;
  readonly "current-snapshot-id"?: number | bigint | null;
  readonly snapshots?: readonly Snapshot[];
  readonly "snapshot-log"?: readonly { readonly "snapshot-id": number | bigint; readonly "timestamp-ms": number }[];
  readonly "metadata-log"?: readonly { readonly "metadata-file": string; readonly "timestamp-ms": number }[];
  readonly refs?: Readonly<Record<string, SnapshotRef>>;
};

export interface IcebergSchema {
  readonly type: "struct";
  readonly "schema-id": number;
  readonly "identifier-field-ids"?: readonly number[];
  readonly fields: readonly IcebergField[];
}
export interface IcebergField {
  readonly id: number;
  readonly name: string;
  readonly required: boolean;
  /** Primitive type name, or a nested type as an object. */
  readonly type: string | Readonly<Record<string, unknown>>;
  readonly doc?: string;
}
export interface PartitionSpec {
  readonly "spec-id": number;
  readonly fields: readonly {
    readonly "source-id": number;
    readonly "field-id": number;
    readonly name: string;
    readonly transform: string;
  }[];
}
export interface SortOrder {
  readonly "order-id": number;
  readonly fields: readonly Readonly<Record<string, unknown>>[];
}
export interface Snapshot {
  readonly "snapshot-id": number | bigint;
  readonly "parent-snapshot-id"?: number | bigint;
  readonly "sequence-number": number;
  readonly "timestamp-ms": number;
  readonly "manifest-list": string;
  readonly summary: Readonly<Record<string, string>> & { readonly operation: string };
  readonly "schema-id"?: number;
}
export interface SnapshotRef {
  readonly "snapshot-id": number | bigint;
  readonly type: "branch" | "tag";
}

export interface LoadedTable {
  readonly metadata: TableMetadata;
  readonly metadataLocation: string;
}

export interface CreateTable {
  readonly schema: IcebergSchema;
  readonly location?: string;
  readonly partitionSpec?: PartitionSpec;
  readonly sortOrder?: SortOrder;
  readonly properties?: Readonly<Record<string, string>>;
}

/** A requirement of the REST specification, e.g. { type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": 7 }. */
export type TableRequirement = Readonly<Record<string, unknown>> & { readonly type: string };
/** An update of the REST specification, e.g. { action: "add-snapshot", snapshot }. */
export type TableUpdate = Readonly<Record<string, unknown>> & { readonly action: string };

/**
 * A commit has three endings. `unknown` (a timeout, a 5xx) must be looked up by loading the table, never guessed, and no
 * file that it names may be deleted (L2).
 */
export type CommitOutcome =
  | { readonly outcome: "landed"; readonly table: LoadedTable }
  | { readonly outcome: "conflict"; readonly reason: string }
  | { readonly outcome: "unknown"; readonly reason: string };

export interface Catalogue {
  /** Creates the namespace unless it is there. */
  ensureNamespace(namespace: readonly string[]): Promise<Result<void, LakeSyncError>>;
  listTables(namespace: readonly string[]): Promise<Result<readonly TableIdent[], LakeSyncError>>;
  /** `NotFound` when there is no such table. */
  load(table: TableIdent): Promise<Result<LoadedTable, LakeSyncError>>;
  /** `Conflict` when it exists. A foreign catalogue may give fresh field ids: go by the answer. */
  create(table: TableIdent, definition: CreateTable): Promise<Result<LoadedTable, LakeSyncError>>;
  commit(
    table: TableIdent,
    requirements: readonly TableRequirement[],
    updates: readonly TableUpdate[],
  ): Promise<Result<CommitOutcome, LakeSyncError>>;
  /** Removes the pointer; files stay unless `purge`. */
  drop(table: TableIdent, options?: { readonly purge?: boolean }): Promise<Result<void, LakeSyncError>>;
}
