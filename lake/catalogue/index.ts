/** The Iceberg catalogue: table metadata, the embedded catalogue, and a client for any other. */
export type { CommitContext } from "./draft.ts";
export { EmbeddedCatalogue, type EmbeddedCatalogueOptions } from "./embedded.ts";
export * from "./errors.ts";
export * from "./json.ts";
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
