/** Request bodies of the Iceberg REST protocol (specification, "Application Schema Objects"), decoded at the door. */
import { z } from "zod";

const strings = z.record(z.string(), z.string());
const object = z.looseObject({});
/** Requirements and updates are decoded by the catalogue, kind by kind. */
const requirements = z.array(z.looseObject({ type: z.string() })).max(1000);
const updates = z.array(z.looseObject({ action: z.string() })).max(10_000);
const namespace = z.array(z.string());
const identifier = z.object({ namespace, name: z.string() });

export const createNamespaceBody = z.object({ namespace, properties: strings.nullish() });

export const updateNamespaceBody = z.object({ removals: z.array(z.string()).nullish(), updates: strings.nullish() });

export const createTableBody = z.object({
  name: z.string(),
  location: z.string().nullish(),
  schema: object,
  "partition-spec": object.nullish(),
  "write-order": object.nullish(),
  "stage-create": z.boolean().nullish(),
  properties: strings.nullish(),
});
export type CreateTableBody = z.infer<typeof createTableBody>;

export const registerTableBody = z.object({
  name: z.string(),
  "metadata-location": z.string(),
  overwrite: z.boolean().nullish(),
});

export const renameTableBody = z.object({ source: identifier, destination: identifier });

export const commitTableBody = z.object({ requirements, updates });

export const commitTransactionBody = z.object({
  "table-changes": z.array(z.object({ identifier, requirements, updates })),
});
