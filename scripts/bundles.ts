/** What is uploaded and what is downloaded, built as users get it and gzipped. For budgets and for the benchmark. */
import { execFileSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build, type Plugin } from "vite";

const root = join(import.meta.dirname, "..");
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Bytes of the Worker as `wrangler deploy` uploads it, gzipped. */
export function workerBundleBytes(): number {
  const out = mkdtempSync(join(tmpdir(), "lakesync-worker-"));
  try {
    const wrangler = join(root, "node_modules/wrangler/bin/wrangler.js");
    execFileSync(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", out], {
      cwd: root,
      env: { ...process.env, WRANGLER_SEND_METRICS: "false" },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const uploaded = globSync("**/*", { cwd: out, withFileTypes: true }).filter(
      (f) => f.isFile() && !/\.map$|^README/.test(f.name),
    );
    return sum(uploaded.map((file) => gzipSync(readFileSync(join(file.parentPath, file.name))).byteLength));
  } finally {
    rmSync(out, { recursive: true });
  }
}

export interface ClientBundle {
  readonly codeBytes: number;
  readonly wasmBytes: number;
}

/** As package.json says of the compiled files; of the source it can name only files that the package has. */
const withoutNode: Plugin = {
  name: "without-node",
  enforce: "pre",
  resolveId: (id, importer) =>
    id === "./db/node.ts" && importer?.endsWith("client/platform.ts") ? join(root, "client/db/no-node.ts") : null,
};

/** `client/index.ts` as an app's bundler makes it, with its worker and SQLite. @param outDir where to; nowhere when left out */
export async function bundleClient(outDir?: string) {
  const built = await build({
    root,
    configFile: false,
    logLevel: "error",
    plugins: [withoutNode],
    base: "./", // found from wherever the files are put
    build: {
      ...(outDir ? { outDir } : { write: false }),
      minify: true,
      target: "es2022",
      // An app pays for what is loaded with the entry and for what is loaded later; both count.
      rolldownOptions: {
        input: join(root, "client/index.ts"),
        output: { entryFileNames: "lakesync.js" },
        external: [...builtinModules.map((name) => `node:${name}`), "react"],
        preserveEntrySignatures: "strict",
      },
    },
  });
  return [built].flat().flatMap((result) => ("output" in result ? result.output : []));
}

/** Bytes of that bundle, gzipped. */
export async function clientBundleBytes(): Promise<ClientBundle> {
  const files = await bundleClient();
  const code = files.flatMap((file) => {
    if (file.type === "chunk") return [file.code];
    return file.fileName.endsWith(".js") ? [file.source] : []; // a worker's bundle comes as an asset
  });
  const wasm = files.flatMap((file) => (file.type === "asset" && file.fileName.endsWith(".wasm") ? [file.source] : []));
  const gzipped = (sources: readonly (string | Uint8Array)[]) => sum(sources.map((s) => gzipSync(s).byteLength));
  return { codeBytes: gzipped(code), wasmBytes: gzipped(wasm) };
}
