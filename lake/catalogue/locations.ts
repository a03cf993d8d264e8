/**
 * Where tables lie. Every key that the catalogue reads, writes or purges is below its own root, the gateway's (S1):
 *
 *   <store location>/<gateway>/<namespace...>/<table>-<12 hex digits>/metadata/<version>-<uuid>.metadata.json
 *
 * The digits are new for each table, so that one that is dropped and created again never meets the old one's files.
 */
import type { TableIdent } from "../../core/index.ts";
import { catalogueError } from "./errors.ts";

/** R2 and S3 refuse longer keys; file names below a location need some of it. Bytes. */
const LOCATION_BYTES_MAX = 900;
const utf8 = new TextEncoder();

export interface Root {
  /** Absolute location of the gateway's part of the store, without trailing slash. */
  readonly location: string;
  /** What comes before a key in an absolute location. */
  readonly storePrefix: string;
}

export const rootOf = (storeLocation: string, gatewayId: string): Root => ({
  location: `${storeLocation}/${gatewayId}`,
  storePrefix: `${storeLocation}/`,
});

/** A place for a new table. */
export function newLocation(root: Root, ident: TableIdent, uuid: string): string {
  const digits = uuid.replaceAll("-", "").slice(-12);
  return `${root.location}/${ident.namespace.join("/")}/${ident.name}-${digits}`;
}

/**
 * The object key of a location that a client named. Throws Forbidden unless it lies below the root, and at least two
 * levels below, so that no table's location holds a whole namespace.
 */
export function keyWithin(root: Root, location: string, what: string): string {
  const below = location.startsWith(`${root.location}/`) ? location.slice(root.location.length + 1) : "";
  const parts = below.split("/");
  const proper = parts.length >= 2 && parts.every((part) => part !== "" && part !== "." && part !== "..");
  if (!proper || /[\p{Cc}?#%\\]/u.test(below) || utf8.encode(location).length > LOCATION_BYTES_MAX) {
    throw catalogueError(
      "ForbiddenException",
      `${what} must lie in ${root.location}/<folder>/<folder>. Leave it out, and the catalogue chooses one.`,
    );
  }
  return location.slice(root.storePrefix.length);
}

/** Whether one location is the other or contains it. */
export const overlap = (a: string, b: string): boolean => a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);

/** Table spec, "Metastore Tables": `<V>-<random-uuid>.metadata.json` in the table's metadata folder. */
export const metadataFile = (tableLocation: string, version: number, uuid: string): string =>
  `${tableLocation}/metadata/${String(version).padStart(5, "0")}-${uuid}.metadata.json`;

/** The version in a metadata file's name, 0 where it has none. */
export const versionOf = (metadataLocation: string): number =>
  Number(/\/v?(\d{1,9})[^/]*\.metadata\.json$/.exec(metadataLocation)?.[1] ?? 0);
