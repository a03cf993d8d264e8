/** bundle: what an app downloads for `lakesync/client`, and what the Worker weighs, gzipped. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { clientBundleBytes, workerBundleBytes } from "../../scripts/bundles.ts";
import { type Bench, sheet } from "../bench.ts";
import { ROOT } from "../harness.ts";

export const bundle: Bench = {
  name: "bundle",
  async run() {
    const out = sheet();
    out.figure("workerGzipKB", workerBundleBytes() / 1024, "KB");
    if (!existsSync(join(ROOT, "client/index.ts"))) return out;
    const { codeBytes, wasmBytes } = await clientBundleBytes();
    out.figure("clientGzipKB", codeBytes / 1024, "KB");
    out.figure("wasmGzipKB", wasmBytes / 1024, "KB");
    return out;
  },
};
