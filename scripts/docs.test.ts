/** Every TypeScript block of the README and of docs/ compiles, by itself, against the package as it is. */
import { execFileSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const BLOCK = /^```(tsx?)\n(.*?)^```/gms;
/** A block may import these files of the app that it stands in. */
const NEIGHBOURS = {
  "schema.ts":
    'import { boolean, defineTable, text } from "lakesync/client";\nexport const schema = defineTable({ todos: { title: text().notNull(), done: boolean().notNull().default(false) } });\n',
};

interface Block {
  readonly name: string;
  readonly source: string;
}

function blocks(): Block[] {
  return globSync("{README.md,docs/*.md,examples/*/README.md}", { cwd: root }).flatMap((file) =>
    [...readFileSync(join(root, file), "utf8").matchAll(BLOCK)].map(([, language, source = ""], at) => ({
      name: `${file.replaceAll(/[/.]/g, "-")}-${at + 1}.${language}`,
      source,
    })),
  );
}

/** What TypeScript says of them. */
function compile(sources: readonly Block[]): string {
  const folder = join(root, ".cache", "docs-blocks");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const { name, source } of sources) writeFileSync(join(folder, name), `${source}\nexport {};\n`);
  for (const [name, source] of Object.entries(NEIGHBOURS)) writeFileSync(join(folder, name), source);
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const paths = Object.fromEntries(
    Object.entries(exports as Record<string, { types?: string }>).flatMap(([subpath, { types }]) =>
      types
        ? [
            [
              `lakesync${subpath.slice(1)}`,
              [relative(folder, join(root, types.replace("dist/", "").replace(".d.ts", ".ts")))],
            ],
          ]
        : [],
    ),
  );
  const compilerOptions = {
    lib: ["ES2024", "ESNext.Disposable", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
    types: ["vite/client", "node"],
    jsx: "react-jsx",
    paths,
    noUnusedLocals: false,
    skipLibCheck: true,
  };
  const config = { extends: "../../tsconfig.json", compilerOptions, include: ["*.ts", "*.tsx"], exclude: [] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  try {
    execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder], { cwd: folder });
    return "";
  } catch (error) {
    return String((error as { stdout: Buffer }).stdout);
  }
}

test("every TypeScript block compiles", () => {
  const found = blocks();
  expect(found.length).toBeGreaterThan(6);
  expect(compile(found)).toBe("");
}, 120_000);

test("a block that does not compile is found", () => {
  const source = 'import { LocalDB } from "lakesync/client";\nawait LocalDB.opne({ name: "a" });\n';
  expect(compile([{ name: "wrong.ts", source }])).toContain("opne");
}, 120_000);
