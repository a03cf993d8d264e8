/** gzip, since it is what browsers can undo by themselves; by the streams that workerd, Node and browsers share. */
import { bytesToHex, LakeSyncError } from "../../schemas/index.ts";

const through = async (bytes: Uint8Array, stream: CompressionStream | DecompressionStream): Promise<Uint8Array> =>
  new Uint8Array(
    await new Response(new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(stream)).arrayBuffer(),
  );

export const gzip = (bytes: Uint8Array): Promise<Uint8Array> => through(bytes, new CompressionStream("gzip"));

/** @param what names the object, for the error. Throws `Corrupt` */
export async function gunzip(bytes: Uint8Array, what: string): Promise<Uint8Array> {
  try {
    return await through(bytes, new DecompressionStream("gzip"));
  } catch (cause) {
    throw new LakeSyncError("Corrupt", `${what} is not sound gzip.`, { object: what }, { cause });
  }
}

/** What names an object by its content. */
export const sha256Of = async (bytes: Uint8Array): Promise<string> =>
  bytesToHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource)));
