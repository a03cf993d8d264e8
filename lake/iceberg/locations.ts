/** Absolute locations, as metadata has them, and keys of the store, as the store has them. */
import type { LakeAdapter } from "../../core/index.ts";
import { bytesToHex, LakeSyncError } from "../../schemas/index.ts";

/** Engines write one place in several ways: Hadoop says s3a, Java says file:/dir. */
const normal = (location: string): string => location.replace(/^s3[an]:\/\//, "s3://").replace(/^file:\/+/, "file:///");

/** Key of an absolute location. Throws `Corrupt` for one outside this store. */
export function keyOf(store: LakeAdapter, location: string): string {
  const root = `${normal(store.location)}/`;
  const whole = normal(location);
  if (whole.startsWith(root)) return whole.slice(root.length);
  throw new LakeSyncError(
    "Corrupt",
    `The table's metadata names ${location}, which is not below ${store.location}; open the store that holds it.`,
    { location },
  );
}

/** Name of a part of an object key, made of what may come in anything: other characters than these become `_`. */
export const keyPart = (text: string): string => text.replace(/[^A-Za-z0-9-]/g, "_");

/**
 * A part of file names that no other attempt has. A name that was orphaned by a kill never comes back, so that orphan
 * removal cannot meet a commit that counts on it (L5).
 */
export const attemptName = (deps: { chance(): number }): string =>
  Math.floor(deps.chance() * 36 ** 8)
    .toString(36)
    .padStart(8, "0");

/** First 64 bits of SHA-256, in hex: the same content has the same name, other content another. */
export async function digestOf(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource));
  return bytesToHex(hash.subarray(0, 8));
}
