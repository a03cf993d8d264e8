/** The page as static files. In an app of your own, npm resolves `lakesync/analyst`; here the sources stand in for the package. */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Workers serve files of 25 MiB at most; DuckDB's wasm has 33 and packs into 9. */
function packed(): Plugin {
  return {
    name: "packed",
    apply: "build",
    generateBundle(_, bundle) {
      for (const [name, file] of Object.entries(bundle)) {
        if (file.type !== "asset" || !name.endsWith(".wasm")) continue;
        // Of the lake, the page reads only; parquet-wasm is for writers.
        if (name.includes("duckdb"))
          this.emitFile({ type: "asset", fileName: `${name}.gz`, source: gzipSync(file.source) });
        delete bundle[name];
      }
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  resolve: { alias: { "lakesync/analyst": join(import.meta.dirname, "../../analyst/index.ts") } },
  build: { target: "es2022", chunkSizeWarningLimit: 2000 },
  plugins: [packed()],
});
