/** Makes the lake's tables ready: created where they are not, their schema evolved where a column is missing (L4). */
import type { LoadedTable, TableIdent } from "../../core/index.ts";
import { LakeSyncError, type TableSchema, unwrap } from "../../schemas/index.ts";
import type { LakeDeps } from "./deps.ts";
import { definitionOf, evolvedSchema, identOf, SCHEMA_VERSION_PROPERTY, type TableKind } from "./layout.ts";
import { currentSchema } from "./manifest.ts";

/** Others may evolve the table at the same time; each attempt looks again. */
const ATTEMPTS = 8;

/**
 * The table as it is, after it was created or evolved if it had to be. Safe to call at once from two places. Throws
 * LakeSyncError.
 */
export async function ensureTable(deps: LakeDeps, table: TableSchema, kind: TableKind): Promise<LoadedTable> {
  const ident = identOf(deps, table.table, kind);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const loaded = (await loadOrUndefined(deps, ident)) ?? (await create(deps, ident, table, kind));
    if (!loaded) continue; // somebody else created it meanwhile
    const known = Number(loaded.metadata.properties?.[SCHEMA_VERSION_PROPERTY] ?? 0);
    if (table.version <= known) return loaded; // an older schema must not drop what a newer one added
    const evolved = await evolve(deps, ident, table, loaded);
    if (evolved) return evolved;
  }
  throw new LakeSyncError("CommitConflict", `The schema of ${ident.name} is being changed by others all the time.`, {
    table: ident.name,
  });
}

export async function loadOrUndefined(deps: LakeDeps, ident: TableIdent): Promise<LoadedTable | undefined> {
  const loaded = await deps.catalogue.load(ident);
  if (loaded.ok) return loaded.value;
  if (loaded.error.code === "NotFound") return undefined;
  throw loaded.error;
}

async function create(
  deps: LakeDeps,
  ident: TableIdent,
  table: TableSchema,
  kind: TableKind,
): Promise<LoadedTable | undefined> {
  unwrap(await deps.catalogue.ensureNamespace(ident.namespace));
  const created = await deps.catalogue.create(ident, definitionOf(table, kind));
  if (created.ok) return created.value;
  if (created.error.code === "Conflict") return undefined;
  throw created.error;
}

/** @returns undefined when another commit came first, or nobody knows whether this one landed */
async function evolve(
  deps: LakeDeps,
  ident: TableIdent,
  table: TableSchema,
  loaded: LoadedTable,
): Promise<LoadedTable | undefined> {
  const { metadata } = loaded;
  const next = evolvedSchema(currentSchema(metadata), table, metadata["last-column-id"]);
  // Catalogues number schemas afresh, but Nessie refuses a number that was given.
  const schemaId = Math.max(...metadata.schemas.map((schema) => schema["schema-id"])) + 1;
  const outcome = unwrap(
    await deps.catalogue.commit(
      ident,
      [
        { type: "assert-table-uuid", uuid: metadata["table-uuid"] },
        { type: "assert-current-schema-id", "current-schema-id": metadata["current-schema-id"] },
        { type: "assert-last-assigned-field-id", "last-assigned-field-id": metadata["last-column-id"] },
      ],
      [
        ...(next
          ? [
              {
                action: "add-schema",
                schema: { ...next.schema, "schema-id": schemaId },
                "last-column-id": next.lastFieldId,
              },
              { action: "set-current-schema", "schema-id": -1 }, // the one just added
            ]
          : []),
        { action: "set-properties", updates: { [SCHEMA_VERSION_PROPERTY]: String(table.version) } },
      ],
    ),
  );
  return outcome.outcome === "landed" ? outcome.table : undefined;
}
