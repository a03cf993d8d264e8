/** How often a value has changed since the component was mounted: as a key, it restarts an animation at each change. */
import { useState } from "react";

export function useGeneration(value: unknown): number {
  const [held, hold] = useState({ value, generation: 0 });
  if (held.value === value) return held.generation;
  hold({ value, generation: held.generation + 1 });
  return held.generation + 1;
}
