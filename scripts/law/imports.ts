/** The imports of a TypeScript file, read from its syntax tree. */
import { argumentOf, isNode, type Node, nodesOf, stringOf } from "../syntax.ts";

export interface Import {
  specifier: string;
  line: number;
  /** Gone before anything runs: `import type`, `export type`, `import("x").T`. */
  typeOnly: boolean;
  /** Loaded only when asked: `import()`, or a worker named by `new URL("x", import.meta.url)`. */
  deferred: boolean;
}

type Found = Omit<Import, "line">;

function found(source: unknown, typeOnly: boolean, deferred: boolean): Found | undefined {
  const specifier = stringOf(source);
  return specifier === undefined ? undefined : { specifier, typeOnly, deferred };
}

/** What each kind of node imports. */
const READ: Record<string, (node: Node) => Found | undefined> = {
  ImportDeclaration: (node) => found(node.source, node.importKind === "type", false),
  ExportAllDeclaration: (node) => found(node.source, node.exportKind === "type", false),
  ExportNamedDeclaration: (node) => found(node.source, node.exportKind === "type", false),
  ImportExpression: (node) => found(node.source, false, true),
  TSImportType: (node) => found(node.source, true, false),
  CallExpression: (node) => {
    const { callee } = node;
    return isNode(callee) && callee.name === "require" ? found(argumentOf(node, 0), false, false) : undefined;
  },
  NewExpression: (node) => {
    const { callee } = node;
    const base = argumentOf(node, 1);
    const ofThisModule = isNode(base) && isNode(base.object) && base.object.type === "MetaProperty";
    const url =
      isNode(callee) && callee.name === "URL" && ofThisModule ? found(argumentOf(node, 0), false, true) : undefined;
    // Any other file that is named this way is data, not code.
    return url !== undefined && /\.tsx?$/.test(url.specifier) ? url : undefined;
  },
};

/** All imports of a file in order. Throws where the file is not TypeScript. */
export function importsOf(file: string, source: string): Import[] {
  return [...nodesOf(file, source)].flatMap((entry) => {
    const read = READ[entry.node.type]?.(entry.node);
    return read === undefined ? [] : [{ ...read, line: entry.line }];
  });
}
