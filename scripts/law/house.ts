/**
 * The house, and which import is allowed in it. Pure: paths in, verdict out.
 *
 *   6  simulation bench examples docs scripts     import anything; nobody below imports them
 *   5  worker  server
 *   4  durable-objects
 *   3  analyst
 *   2  client | lake | adapters
 *   1  core
 *   0  schemas
 *
 * A file imports its own folder freely and lower floors through their doors: `<folder>/index.ts`, or a file that
 * package.json exports as a subpath. Siblings never meet. `<folder>/testing.ts` is a door for test code only, and
 * `<folder>/node.ts` one for what runs in Node: the server, the attic and tests. `lakesync.config.ts` at the root is the user's:
 * the edge Worker's entry alone reads it.
 */
import { posix } from "node:path";

const FLOORS = [
  ["schemas"],
  ["core"],
  ["client", "lake", "adapters"],
  ["analyst"],
  ["durable-objects"],
  ["worker", "server"],
  ["simulation", "bench", "examples", "docs", "scripts"],
];
export const FOLDERS = FLOORS.flat();
const ATTIC = FLOORS.length - 1;

/** What a browser must never download. */
const SERVER_ONLY = ["lake", "adapters", "analyst", "durable-objects", "worker", "server"];

export interface House {
  /** Files that package.json exports as subpaths, such as `client/react/index.ts`. */
  exported: ReadonlySet<string>;
}

interface Broken {
  /** What is wrong, in one clause. */
  fault: string;
  /** What to do instead. */
  remedy: string;
}

function folderOf(file: string): string | undefined {
  const first = file.split("/")[0];
  return file.includes("/") && first !== undefined && FOLDERS.includes(first) ? first : undefined;
}

function floorOf(folder: string): number {
  return FLOORS.findIndex((floor) => floor.includes(folder));
}

/** Test code: it never ships, so it may look into its own floor and use `testing.ts`. */
function isTestCode(file: string): boolean {
  return /\.(test|test-d)\.tsx?$|\/testing\//.test(file) || posix.basename(file) === "testing.ts";
}

/** Whether one file may import another; both are paths from the root, with `/`. `undefined` means that it may. */
export function verdict(from: string, to: string, house: House): Broken | undefined {
  if (to.startsWith("../")) {
    return { fault: "leaves the repository", remedy: "depend on a package, or move the file into the house" };
  }
  const target = folderOf(to);
  const home = folderOf(from);
  if (target === undefined) {
    // A file at the root (vitest.config.ts, package.json) belongs to no floor; only the attic reads it.
    if (home === undefined || floorOf(home) === ATTIC) return undefined;
    if (from === "worker/index.ts" && to === "lakesync.config.ts") return undefined;
    return {
      fault: `reads ${to}, which belongs to no floor`,
      remedy: `take it as an argument, or move it into ${home}/`,
    };
  }
  if (home === target) return undefined;

  const fromFloor = home === undefined ? ATTIC : floorOf(home);
  const toFloor = floorOf(target);
  const attic = fromFloor === ATTIC;
  if (attic && toFloor === ATTIC) return undefined;
  const forTests = posix.basename(to) === "testing.ts" && posix.dirname(to) === target;

  if (to.startsWith("schemas/gen/")) {
    return { fault: "reaches into generated code", remedy: "export what you need from schemas/index.ts" };
  }
  if (forTests && !attic && !isTestCode(from)) {
    return {
      fault: "is test support in code that ships",
      remedy: `import ${target}/index.ts, or move the caller into a test`,
    };
  }
  if (toFloor > fromFloor) {
    return {
      fault: `climbs from floor ${fromFloor} (${home}) to floor ${toFloor} (${target})`,
      remedy: `move what you need down to a floor below ${home}, or have it passed in as an argument`,
    };
  }
  if (toFloor === fromFloor && !attic && !forTests) {
    return {
      fault: `${home} and ${target} are siblings on floor ${fromFloor}`,
      remedy: `move what both need to a floor below, or join them on a floor above`,
    };
  }
  const forNode = to === `${target}/node.ts` && (attic || home === "server" || isTestCode(from));
  if (forNode || forTests || to === `${target}/index.ts` || house.exported.has(to)) return undefined;
  return {
    fault: `does not go through the door of ${target}`,
    remedy: `export it from ${target}/index.ts and import that`,
  };
}

/** Whether this file may be part of what a browser loads with `client/index.ts`. */
export function isServerOnly(file: string): boolean {
  const folder = folderOf(file);
  return folder !== undefined && SERVER_ONLY.includes(folder);
}

/** Modules of a runtime. `schemas` and `core` decide purely: clock, chance and I/O reach them as arguments. */
export function isRuntimeModule(specifier: string): boolean {
  return specifier.startsWith("node:") || specifier.startsWith("cloudflare:");
}

/** Whether a file is on a floor that knows no runtime. */
export function isPure(file: string): boolean {
  const folder = folderOf(file);
  return folder !== undefined && floorOf(folder) <= 1 && !isTestCode(file);
}
