/**
 * Bugs that are planted, one at a time, to see whether the simulation finds them. Each is an edit of the product's source as
 * it is read (hooks.ts): the product itself knows nothing of them.
 */
import { CLIENT_BUGS } from "./client.ts";
import { GATEWAY_BUGS } from "./gateway.ts";
import { LAKE_BUGS } from "./lake.ts";
import { TABS_BUGS } from "./tabs.ts";

export interface Bug {
  readonly name: string;
  /** What is wrong, for a reader. */
  readonly what: string;
  readonly edits: readonly {
    readonly file: string;
    /** Stands in the file exactly once. */
    readonly find: string;
    readonly replace: string;
  }[];
}

export const BUGS: readonly Bug[] = [...GATEWAY_BUGS, ...CLIENT_BUGS, ...LAKE_BUGS, ...TABS_BUGS];

export function bugNamed(name: string): Bug {
  const bug = BUGS.find((each) => each.name === name);
  if (!bug) throw new Error(`There is no bug ${name}; the lists are in simulation/bugs/.`);
  return bug;
}
