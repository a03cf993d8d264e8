/**
 * How product code that was written for workerd is loaded in Node: some modules are replaced, and a planted
 * bug is a change of the source as it is read. Nothing of this is in the product's bundle.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import type { Bug } from "./bugs/list.ts";
import { SCALED } from "./scaled.ts";

const HERE = new URL("./", import.meta.url);
const ROOT = new URL("../", HERE).href;
const REPLACED: Readonly<Record<string, string>> = {
  "cloudflare:workers": new URL("fakes/workers.ts", HERE).href,
  jose: new URL("fakes/jose.ts", HERE).href,
  vitest: new URL("fakes/vitest.ts", HERE).href, // contract suites stand behind the doors of what is used here
};

/** Node 24 knows them; the types, which are those of Workers and of an older Node, do not. */
interface Hooks {
  resolve(specifier: string, context: object, next: (specifier: string, context: object) => object): object;
  load(
    url: string,
    context: object,
    next: (url: string, context: object) => { source?: string | Uint8Array | null },
  ): object;
}

/** @param bug what to break; each of its places has to be there, or the bug is not the one that it was */
export function installHooks(bug: Bug | undefined): void {
  const all = [...SCALED, ...(bug?.edits ?? [])];
  const hooks: Hooks = {
    resolve(specifier, context, next) {
      const url = REPLACED[specifier];
      return url ? { url, shortCircuit: true, format: "module-typescript" } : next(specifier, context);
    },
    load(url, context, next) {
      if (url.endsWith(".wasm")) return { format: "module", shortCircuit: true, source: wasmModule(url) };
      const loaded = next(url, context);
      const edits = all.filter(({ file }) => url === ROOT + file);
      if (edits.length === 0 || !loaded.source) return loaded;
      let source = String(Buffer.from(loaded.source as string));
      for (const { file, find, replace } of edits) {
        if (source.split(find).length !== 2)
          throw new Error(`Bug ${bug?.name ?? "(none)"}: ${file} does not hold once: ${find}`);
        source = source.replace(find, () => replace);
      }
      return { ...loaded, source };
    },
  };
  (registerHooks as unknown as (hooks: Hooks) => void)(hooks);
}

/** For a process that has nothing replaced but the test runner, behind whose door the oracle stands. */
export function withoutTestRunner(): void {
  const hooks: Pick<Hooks, "resolve"> = {
    resolve: (specifier, context, next) =>
      specifier === "vitest"
        ? { url: REPLACED.vitest, shortCircuit: true, format: "module-typescript" }
        : next(specifier, context),
  };
  (registerHooks as unknown as (hooks: Pick<Hooks, "resolve">) => void)(hooks);
}

/** A compiled module, as Workers give it. */
function wasmModule(url: string): string {
  const bytes = readFileSync(fileURLToPath(url)).toString("base64");
  return `export default new WebAssembly.Module(Buffer.from("${bytes}", "base64"));`;
}
