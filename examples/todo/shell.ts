/** Tells the service worker what the app consists of: every built file, and a version that changes with any of them. */
import { createHash } from "node:crypto";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

const PLACEHOLDERS = { files: "__SHELL_FILES__", version: "__SHELL_VERSION__" };

export function appShell(): Plugin {
  let publicDir = "";
  return {
    name: "app-shell",
    apply: "build",
    configResolved(config) {
      publicDir = config.publicDir;
    },
    generateBundle(_, bundle) {
      const copied = globSync("*.{svg,png,webmanifest}", { cwd: publicDir });
      const built = Object.keys(bundle).filter((file) => file !== "sw.js" && !file.endsWith(".map"));
      const files = [
        "/",
        ...[...built.filter((file) => file !== "index.html"), ...copied].map((file) => `/${file}`),
      ].sort();
      // Built files carry a hash of their content in their names; the others are looked into.
      const hash = createHash("sha256").update(JSON.stringify(files));
      for (const file of copied) hash.update(readFileSync(join(publicDir, file)));
      const worker = bundle["sw.js"];
      if (worker?.type !== "chunk") throw new Error("The service worker is not in the bundle.");
      worker.code = worker.code
        .replace(PLACEHOLDERS.files, JSON.stringify(files))
        .replace(PLACEHOLDERS.version, JSON.stringify(hash.digest("hex").slice(0, 12)));
    },
  };
}
