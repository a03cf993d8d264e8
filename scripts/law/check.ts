/** Walks the house and lists every import that breaks the law. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { FOLDERS, type House, isPure, isRuntimeModule, isServerOnly, verdict } from "./house.ts";
import { type Import, importsOf } from "./imports.ts";

interface Edge extends Import {
  from: string;
  /** The imported file as a path from the root; `undefined` for a package. */
  to: string | undefined;
}

/** Source files of the house, as paths from the root. */
function sourceFiles(root: string): string[] {
  const patterns = [...FOLDERS.map((folder) => `${folder}/**/*.{ts,tsx}`), "*.ts"];
  return globSync(patterns, {
    cwd: root,
    exclude: (name) => /(^|\/)(node_modules|dist|fixtures|\.[^./][^/]*)$/.test(name),
  })
    .map((file) => file.replaceAll("\\", "/"))
    .sort();
}

interface Manifest {
  name?: string;
  exports?: unknown;
}

/** Subpath -> source file, from package.json's `exports`; `./dist/client/index.js` stands for `client/index.ts`. */
function subpaths(manifest: Manifest): Map<string, string> {
  const doors = new Map<string, string>();
  const visit = (subpath: string, value: unknown): void => {
    if (typeof value === "string") {
      const source = value.replace(/^\.\//, "").replace(/^dist\//, "");
      doors.set(subpath, source.replace(/(\.d)?\.[mc]?[jt]s$/, ".ts"));
    } else if (typeof value === "object" && value !== null) {
      for (const inner of Object.values(value)) visit(subpath, inner);
    }
  };
  const table = typeof manifest.exports === "object" && manifest.exports !== null ? manifest.exports : {};
  for (const [subpath, value] of Object.entries(table)) visit(subpath, value);
  return doors;
}

/** Every broken import as `file:line  import "x": fault\n    remedy`; empty when the law is kept. */
export function breaches(root: string): string[] {
  const manifestPath = join(root, "package.json");
  const manifest: Manifest = existsSync(manifestPath) ? JSON.parse(readFileSync(manifestPath, "utf8")) : {};
  const doors = subpaths(manifest);
  const house: House = { exported: new Set(doors.values()) };

  const resolve = (from: string, specifier: string): string | undefined => {
    const path = specifier.replace(/\?.*$/, "");
    if (path.startsWith(".")) return posix.normalize(posix.join(posix.dirname(from), path));
    const self = manifest.name !== undefined && path.startsWith(`${manifest.name}/`);
    return self ? doors.get(`.${path.slice(manifest.name?.length)}`) : undefined;
  };
  const edges = sourceFiles(root).flatMap((from) =>
    importsOf(from, readFileSync(join(root, from), "utf8")).map(
      (found): Edge => ({ ...found, from, to: resolve(from, found.specifier) }),
    ),
  );

  const report = (edge: Edge, fault: string, remedy: string) =>
    `${edge.from}:${edge.line}  import "${edge.specifier}" ${fault}\n    remedy: ${remedy}`;
  const floors = edges.flatMap((edge) => {
    if (edge.to === undefined) {
      if (!isRuntimeModule(edge.specifier) || edge.typeOnly || !isPure(edge.from)) return [];
      return [report(edge, "brings a runtime into a pure floor", "declare a port in core/ports and have it passed in")];
    }
    if (posix.extname(edge.to) === "") {
      return [report(edge, "has no extension, so Node cannot run it", "write the file's name, with .ts")];
    }
    const broken = verdict(edge.from, edge.to, house);
    return broken === undefined ? [] : [report(edge, broken.fault, broken.remedy)];
  });
  return [...floors, ...browserBreaches(edges, report)];
}

/** What a browser reaches from `client/index.ts` and must not. Follows every import that exists at run time. */
function browserBreaches(edges: Edge[], report: (edge: Edge, fault: string, remedy: string) => string): string[] {
  const start = "client/index.ts";
  const trail = new Map([[start, start]]);
  const found: string[] = [];
  // A Map hands out the keys that are added while it is walked.
  for (const [file, way] of trail) {
    for (const edge of edges.filter((e) => e.from === file && !e.typeOnly)) {
      if (edge.to !== undefined && isServerOnly(edge.to)) {
        found.push(
          report(
            edge,
            `puts server code into the browser: ${way} -> ${edge.to}`,
            "cut the chain, or use `import type`",
          ),
        );
      } else if (edge.to !== undefined && !trail.has(edge.to)) {
        trail.set(edge.to, `${way} -> ${edge.to}`);
      } else if (isRuntimeModule(edge.specifier) && !edge.deferred) {
        found.push(
          report(edge, `is no module of a browser: ${way}`, "load it with import() where that runtime is known"),
        );
      }
    }
  }
  return found;
}
