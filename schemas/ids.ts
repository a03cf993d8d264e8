/**
 * Names and numbers that must not be mixed up, branded, with one decoder each: `unknown` becomes an id or an error at
 * the door, never later (S3).
 */
import { z } from "zod";
import { LakeSyncError } from "./errors.ts";
import { CLIENT_ID_CHARS_MAX, IDENTIFIER_CHARS_MAX, ROW_ID_BYTES_MAX } from "./limits.ts";

declare const brand: unique symbol;
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A tenant: everything that a token can reach. Lower-case letters, digits and hyphens. */
export type GatewayId = Brand<string, "GatewayId">;
/** A device's database. Letters, digits, `_` and `-`. Compared by code unit, which for these is by code point. */
export type ClientId = Brand<string, "ClientId">;
/** Any non-empty string without control characters. */
export type RowId = Brand<string, "RowId">;
/** A number that a shard gives to each change, from 1, without gaps. */
export type Seq = Brand<number, "Seq">;
/** SHA-256 in lower-case hex (M4). */
export type DeltaId = Brand<string, "DeltaId">;

export const IDENTIFIER = new RegExp(`^[A-Za-z][A-Za-z0-9_]{0,${IDENTIFIER_CHARS_MAX - 1}}$`);
const GATEWAY_ID = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const CLIENT_ID = new RegExp(`^[A-Za-z0-9_-]{1,${CLIENT_ID_CHARS_MAX}}$`);
/** Most row ids: printable ASCII, so short that it fits however its bytes are counted. */
const PLAIN_ROW_ID = /^[ -~]{1,128}$/;
const CONTROL = /\p{Cc}/u;
const utf8 = new TextEncoder();

/** Suffixes and prefixes that LakeSync's own tables and columns use. */
const RESERVED = /^lakesync_|__changes$/i;

export const isIdentifier = (name: string): boolean => IDENTIFIER.test(name) && !RESERVED.test(name);
export const isGatewayId = (id: string): id is GatewayId => GATEWAY_ID.test(id);
export const isClientId = (id: string): id is ClientId => CLIENT_ID.test(id);

/** Whether a string may name a row: well-formed Unicode, 1 to 512 bytes of UTF-8, no control characters. */
export function isRowId(id: unknown): id is RowId {
  if (typeof id === "string" && PLAIN_ROW_ID.test(id)) return true;
  if (typeof id !== "string" || id.length === 0 || id.length > ROW_ID_BYTES_MAX) return false;
  if (CONTROL.test(id) || !id.isWellFormed()) return false;
  return id.length * 3 <= ROW_ID_BYTES_MAX || utf8.encode(id).length <= ROW_ID_BYTES_MAX;
}

const identifierMessage = (what: string) =>
  `A ${what} starts with a letter, has up to ${IDENTIFIER_CHARS_MAX} letters, digits and "_", and neither starts with "lakesync_" nor ends with "__changes".`;

export const identifierSchema = (what: string) => z.string().refine(isIdentifier, { error: identifierMessage(what) });

export function parseIdentifier(what: "table name" | "column name", name: string): string {
  if (isIdentifier(name)) return name;
  throw new LakeSyncError(
    "BadIdentifier",
    `${JSON.stringify(name.slice(0, 80))} is not a ${what}. ${identifierMessage(what)}`,
  );
}

export function parseGatewayId(id: string): GatewayId {
  if (isGatewayId(id)) return id;
  throw new LakeSyncError(
    "BadIdentifier",
    `${JSON.stringify(id.slice(0, 80))} is not a gateway id: 1 to 63 lower-case letters and digits, with hyphens between.`,
  );
}

export function parseClientId(id: string): ClientId {
  if (isClientId(id)) return id;
  throw new LakeSyncError(
    "BadIdentifier",
    `${JSON.stringify(id.slice(0, 80))} is not a client id. It has 1 to ${CLIENT_ID_CHARS_MAX} letters, digits, "_" and "-"; a random UUID will do.`,
  );
}
