/** Physical time, as an argument. Composition roots pass `Date.now`; the simulation passes its own. */
export interface Clock {
  /** Milliseconds since 1970, UTC. May step back. */
  now(): number;
}
