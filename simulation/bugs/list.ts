/** Bugs that are planted, one at a time, to see whether the simulation finds them. */
export interface Bug {
  readonly name: string;
  /** What is wrong, for a reader. */
  readonly what: string;
  readonly edits: readonly { readonly file: string; readonly find: string; readonly replace: string }[];
}

export const BUGS: readonly Bug[] = [];

export function bugNamed(name: string): Bug {
  const bug = BUGS.find((each) => each.name === name);
  if (!bug) throw new Error(`There is no bug ${name}; the list is in simulation/bugs/list.ts.`);
  return bug;
}
