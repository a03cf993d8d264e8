/** The kinds of test files: one suffix each, one vitest project each. `*.test.ts` is Node unless a longer suffix says otherwise. */
const SUFFIX = {
  node: ".test.ts",
  workerd: ".do.test.ts",
  web: ".web.test.ts",
  pg: ".pg.test.ts",
  interop: ".interop.test.ts",
} as const;

export type TestKind = keyof typeof SUFFIX;

/** Needs Python and Java, so it has a command of its own. */
export const INTEROP_KIND = "interop" satisfies TestKind;

/** What `npm test` runs, each of them every time. */
export const TEST_KINDS = ["node", "workerd", "web", "pg"] as const satisfies readonly TestKind[];

/** The glob of one kind's files. */
export function filesOf(kind: TestKind): string {
  return `**/*${SUFFIX[kind]}`;
}

/** The kinds whose files match this kind's glob too and have to be taken out of it. */
export function otherKinds(kind: TestKind): TestKind[] {
  return (Object.keys(SUFFIX) as TestKind[]).filter((other) => other !== kind && SUFFIX[other].endsWith(SUFFIX[kind]));
}

/** The kind of a test file by its name; `undefined` where it is none. */
export function kindOf(file: string): TestKind | undefined {
  const kinds = (Object.keys(SUFFIX) as TestKind[]).sort((a, b) => SUFFIX[b].length - SUFFIX[a].length);
  return kinds.find((kind) => file.endsWith(SUFFIX[kind]));
}
