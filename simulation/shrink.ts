/** Makes a plan that fails smaller: leaves out actions and kinds of weather for as long as it still fails in the same way. */
import type { Plan } from "./plan.ts";
import { runPlan, type Verdict } from "./world.ts";

/** Worlds that are tried at most. */
const TRIES_MAX = 250;

/** Failures are the same when they break the same rule: "[C9] ...". */
const kindOf = (failure: string | undefined): string | undefined =>
  failure && (/^\[\w+\]/.exec(failure)?.[0] ?? "other");

export interface Smallest {
  readonly plan: Plan;
  readonly verdict: Verdict;
}

export async function shrink(plan: Plan, verdict: Verdict): Promise<Smallest> {
  const kind = kindOf(verdict.failure);
  let best: Smallest = { plan, verdict };
  let tries = 0;
  const attempt = async (smaller: Plan): Promise<boolean> => {
    if (tries++ >= TRIES_MAX) return false;
    const again = await runPlan(smaller);
    if (kindOf(again.failure) !== kind) return false;
    best = { plan: smaller, verdict: again };
    return true;
  };
  for (const [name] of Object.entries(plan.weather)) {
    const { [name as keyof Plan["weather"]]: _, ...weather } = best.plan.weather;
    await attempt({ ...best.plan, weather });
  }
  for (let size = plan.actions.length >> 1; size >= 1; size >>= 1)
    for (let at = 0; at < best.plan.actions.length; ) {
      const actions = best.plan.actions.toSpliced(at, size);
      if (!(await attempt({ ...best.plan, actions }))) at += size;
    }
  return best;
}
