/** The smallest Worker with a SQLite Durable Object: a stage for tests of what workerd enforces. */
import { DurableObject } from "cloudflare:workers";

export class Shard extends DurableObject {}

export default {
  fetch: () => new Response("fixture"),
};
