/** The yardstick of a flush: the columns of files that a flush wrote, through parquet-wasm and into the bucket again. */
import { Compression, initSync, readParquet, Table, WriterPropertiesBuilder, writeParquet } from "parquet-wasm/esm";
import parquetWasm from "parquet-wasm/esm/parquet_wasm_bg.wasm";

let ready = false;
let kept: Uint8Array[] = [];

export async function loadColumns(bucket: R2Bucket, prefix: string): Promise<{ files: number; bytes: number }> {
  if (!ready) initSync({ module: parquetWasm });
  ready = true;
  kept = [];
  let bytes = 0;
  for (let cursor: string | undefined; ; ) {
    const page = await bucket.list({ prefix, ...(cursor !== undefined && { cursor }) });
    for (const { key } of page.objects.filter((o) => o.key.endsWith(".parquet"))) {
      const object = await bucket.get(key);
      if (!object) continue;
      const file = new Uint8Array(await object.arrayBuffer());
      bytes += file.byteLength;
      kept.push(readParquet(file).intoIPCStream());
    }
    if (!page.truncated) return { files: kept.length, bytes };
    cursor = page.cursor;
  }
}

export async function writeColumns(bucket: R2Bucket): Promise<{ files: number; bytes: number }> {
  let bytes = 0;
  for (const [at, ipc] of kept.entries()) {
    const properties = new WriterPropertiesBuilder().setCompression(Compression.ZSTD).build();
    const file = writeParquet(Table.fromIPCStream(ipc), properties);
    bytes += file.byteLength;
    await bucket.put(`yardstick/${at}.parquet`, file);
  }
  return { files: kept.length, bytes };
}
