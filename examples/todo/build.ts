/** `node examples/todo/build.ts`: the app into `examples/todo/dist`, which `wrangler deploy` sends along with the Worker. */
import { join } from "node:path";
import { build } from "vite";

/** @param outDir where the files go; emptied before */
export async function buildApp(outDir = join(import.meta.dirname, "dist")): Promise<void> {
  await build({
    configFile: join(import.meta.dirname, "vite.config.ts"),
    logLevel: "error",
    build: { outDir },
  });
}

if (import.meta.main) await buildApp();
