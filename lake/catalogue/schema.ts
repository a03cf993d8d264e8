/**
 * Iceberg schemas (table spec, "Schemas and Data Types", "Identifier Field IDs", appendix C): reading what a client sent,
 * and giving fresh field ids.
 *
 *   - a field id occurs once in a schema, nested fields included, and is positive
 *   - names are unique within a struct
 *   - identifier fields are required primitives, neither float nor double, and not inside a list or map
 */
import type { IcebergField, IcebergSchema } from "../../core/index.ts";
import { refuse } from "./errors.ts";
import { stringifyJson } from "./json.ts";

/** Iceberg types of any version, and those that came with v3 ("Primitive Types"). */
const PRIMITIVE =
  /^(boolean|int|long|float|double|date|time|timestamp|timestamptz|string|uuid|binary|fixed\[\s*\d+\s*\]|decimal\(\s*\d+\s*,\s*\d+\s*\))$/;
const PRIMITIVE_V3 = /^(unknown|variant|timestamp_ns|timestamptz_ns|geometry(\(.*\))?|geography(\(.*\))?)$/;

/** Nesting deeper than this is no table; it bounds the recursion (S4). */
const DEPTH_MAX = 32;

interface Node {
  readonly id: number;
  readonly type: unknown;
  readonly required: boolean;
  /** Dotted path, for messages. */
  readonly path: string;
  readonly inCollection: boolean;
}

type Json = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function fieldId(value: unknown, path: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 31) return value;
  return refuse(`Field "${path}" has no id, or one that is no 32-bit integer.`);
}

/** Visits each field of a struct, list elements, map keys and values included; parents before their children. */
function walk(fields: unknown, path: string, depth: number, inCollection: boolean, visit: (node: Node) => void): void {
  if (!Array.isArray(fields)) refuse(`"${path || "schema"}" has no list of fields.`);
  if (depth > DEPTH_MAX) refuse(`The schema is nested more than ${DEPTH_MAX} levels deep.`);
  const names = new Set<string>();
  const children: (() => void)[] = [];
  for (const field of fields) {
    if (!isObject(field) || typeof field.name !== "string" || field.name === "") {
      refuse(`A field of "${path || "the schema"}" has no name.`);
    }
    const at = path === "" ? field.name : `${path}.${field.name}`;
    if (names.has(field.name)) refuse(`The schema has two fields named "${at}".`);
    names.add(field.name);
    if (typeof field.required !== "boolean") refuse(`Field "${at}" does not say whether it is required.`);
    visit({ id: fieldId(field.id, at), type: field.type, required: field.required, path: at, inCollection });
    children.push(() => walkType(field.type, at, depth + 1, inCollection, visit));
  }
  for (const child of children) child();
}

function walkType(
  type: unknown,
  path: string,
  depth: number,
  inCollection: boolean,
  visit: (node: Node) => void,
): void {
  if (typeof type === "string") return;
  if (!isObject(type)) refuse(`Field "${path}" has no type.`);
  if (type.type === "struct") {
    walk(type.fields, path, depth, inCollection, visit);
    return;
  }
  if (depth > DEPTH_MAX) refuse(`The schema is nested more than ${DEPTH_MAX} levels deep.`);
  const parts = type.type === "list" ? ["element"] : type.type === "map" ? ["key", "value"] : undefined;
  if (parts === undefined) refuse(`Field "${path}" has an unknown type.`);
  for (const part of parts) {
    const at = `${path}.${part}`;
    const required = part === "key" || type[`${part}-required`] === true;
    visit({ id: fieldId(type[`${part}-id`], at), type: type[part], required, path: at, inCollection: true });
    walkType(type[part], at, depth + 1, true, visit);
  }
}

function nodesOf(fields: unknown): Node[] {
  const nodes: Node[] = [];
  walk(fields, "", 0, false, (node) => nodes.push(node));
  return nodes;
}

/** Highest field id in a schema, 0 for one without fields. */
export function highestFieldId(schema: IcebergSchema): number {
  return nodesOf(schema.fields).reduce((highest, node) => Math.max(highest, node.id), 0);
}

/** Fields by id: where partition and sort fields find their source, and which names are taken. */
export function fieldsById(
  schema: IcebergSchema,
): ReadonlyMap<number, { readonly path: string; readonly type: unknown }> {
  return new Map(nodesOf(schema.fields).map((node) => [node.id, node]));
}

/**
 * Checks a schema. `schemaId` replaces what the client called it. Keeps what it does not know (docs, defaults). Throws
 * BadRequest.
 */
export function checkSchema(value: unknown, schemaId: number, formatVersion: number): IcebergSchema {
  if (!isObject(value) || (value.type !== undefined && value.type !== "struct")) {
    refuse('A schema is an object of type "struct".');
  }
  const byId = new Map<number, Node>();
  for (const node of nodesOf(value.fields)) {
    const twin = byId.get(node.id);
    if (twin !== undefined) refuse(`Fields "${twin.path}" and "${node.path}" have the same id ${node.id}.`);
    byId.set(node.id, node);
    checkType(node, formatVersion);
  }
  const identifiers = value["identifier-field-ids"] ?? [];
  if (!Array.isArray(identifiers)) refuse('"identifier-field-ids" is a list of field ids.');
  for (const id of identifiers) {
    const node = byId.get(id);
    if (node === undefined) refuse(`Identifier field ${String(id)} is not in the schema.`);
    const fit =
      node.required && !node.inCollection && typeof node.type === "string" && !/^(float|double)$/.test(node.type);
    if (!fit) refuse(`"${node.path}" cannot be an identifier field: it must be a required primitive, and no float.`);
  }
  return { ...value, type: "struct", "schema-id": schemaId, fields: value.fields as readonly IcebergField[] };
}

function checkType(node: Node, formatVersion: number): void {
  if (typeof node.type !== "string" || PRIMITIVE.test(node.type)) return;
  if (!PRIMITIVE_V3.test(node.type)) refuse(`Field "${node.path}" has the unknown type ${JSON.stringify(node.type)}.`);
  if (formatVersion < 3) refuse(`Field "${node.path}" has type ${node.type}, which needs format version 3.`);
}

/** Whether two schemas are the same but for their ids as schemas. */
export function sameSchema(a: IcebergSchema, b: IcebergSchema): boolean {
  const essence = (schema: IcebergSchema) =>
    stringifyJson([schema.fields.map(canonical), [...(schema["identifier-field-ids"] ?? [])].sort((x, y) => x - y)]);
  return essence(a) === essence(b);
}

/** A value with object keys in order, so that equal values have equal JSON. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, canonical(value[key])]),
  );
}

/**
 * Gives every field a new id from 1, a struct's own fields before what is nested in them; `renumbered` says what became
 * of each old id. Some clients number a new table's fields from 0 and count on this.
 */
export function withFreshIds(value: unknown): {
  readonly schema: Json;
  readonly renumbered: ReadonlyMap<number, number>;
} {
  if (!isObject(value)) refuse('A schema is an object of type "struct".');
  const renumbered = new Map<number, number>();
  for (const node of nodesOf(value.fields)) {
    if (renumbered.has(node.id)) refuse(`Two fields of the schema have the same id ${node.id}.`);
    renumbered.set(node.id, renumbered.size + 1);
  }
  const fresh = (id: unknown) => renumbered.get(id as number);
  const renumber = (type: unknown): unknown => {
    if (!isObject(type)) return type;
    if (type.type === "struct") {
      const fields = type.fields as readonly Json[];
      return { ...type, fields: fields.map((f) => ({ ...f, id: fresh(f.id), type: renumber(f.type) })) };
    }
    if (type.type === "list")
      return { ...type, "element-id": fresh(type["element-id"]), element: renumber(type.element) };
    const ids = { "key-id": fresh(type["key-id"]), "value-id": fresh(type["value-id"]) };
    return { ...type, ...ids, key: renumber(type.key), value: renumber(type.value) };
  };
  const schema = renumber({ ...value, type: "struct" }) as Json;
  const identifiers = value["identifier-field-ids"];
  if (!Array.isArray(identifiers)) return { schema, renumbered };
  return { schema: { ...schema, "identifier-field-ids": identifiers.map(fresh) }, renumbered };
}

/** Whether the client numbered the fields itself, from 1 and each once. */
export function hasUsableIds(value: unknown): boolean {
  if (!isObject(value)) return false;
  const ids = nodesOf(value.fields).map((node) => node.id);
  return ids.every((id) => id > 0) && new Set(ids).size === ids.length;
}
