/** Bytes as they come out of a stream that they are put into: zipped, or unzipped. */
export async function through(stream: CompressionStream | DecompressionStream, bytes: Uint8Array): Promise<Uint8Array> {
  const out = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(out as BodyInit).arrayBuffer());
}
