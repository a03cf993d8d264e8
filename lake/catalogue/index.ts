/** The Iceberg catalogue: table metadata, the embedded catalogue, and a client for any other. */
export type { CommitContext } from "./draft.ts";
export { EmbeddedCatalogue, type EmbeddedCatalogueOptions, type FaultPoint } from "./embedded.ts";
export { catalogueError, ICEBERG_ERRORS, type IcebergErrorType, icebergTypeOf, isIcebergErrorType } from "./errors.ts";
export { type Id64, idKey, parseJson, stringifyJson } from "./json.ts";
export {
  checkRequirements,
  FORMAT_VERSION,
  newTableMetadata,
  parseTableMetadata,
  withRefSnapshotsOnly,
} from "./metadata.ts";
export { type Namespace, SEPARATOR } from "./names.ts";
export type { RestAuth } from "./rest-auth.ts";
export { RestCatalogue, type RestCatalogueOptions } from "./rest-client.ts";
export * from "./server.ts";
export { applyUpdates } from "./updates.ts";
