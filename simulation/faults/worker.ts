/**
 * The edge Worker over an R2 and queues that fail: a request that does nothing, or all of it without an answer; a message
 * that is lost, or comes twice; a consumer that dies before or after its work. `FAULTS` says how often, from 0 to 1.
 */
import type { Env as GatewayEnv } from "../../durable-objects/index.ts";
import {
  createGateway,
  Catalogue as TheCatalogue,
  Hub as TheHub,
  Shard as TheShard,
  Tenant as TheTenant,
} from "../../worker/gateway.ts";

type Env = GatewayEnv & { readonly FAULTS?: string };
type Call = (...args: unknown[]) => Promise<unknown>;

const struck = (env: Env): boolean => Math.random() < Number(env.FAULTS ?? 0);

/** Each call fails now and then, half of the time after it was done. */
function failing<T extends object>(env: Env, binding: T): T {
  return new Proxy(binding, {
    get(target, name) {
      const method = Reflect.get(target, name) as Call;
      if (typeof method !== "function") return method;
      return async (...args: unknown[]) => {
        if (!struck(env)) return method.apply(target, args);
        if (Math.random() < 0.5) await method.apply(target, args);
        throw new Error(`${String(name)}: internal error (10001)`);
      };
    },
  });
}

/** Messages get lost, or are sent twice. */
function losing<T extends object>(env: Env, queue: T): T {
  return new Proxy(queue, {
    get(target, name) {
      const method = Reflect.get(target, name) as Call;
      return async (...args: unknown[]) => {
        if (struck(env)) return undefined;
        if (struck(env)) await method.apply(target, args);
        return method.apply(target, args);
      };
    },
  });
}

const faulty = (env: Env): Env => ({
  ...env,
  LAKE: failing(env, env.LAKE),
  FLUSH_QUEUE: losing(env, env.FLUSH_QUEUE),
  MAINTENANCE_QUEUE: losing(env, env.MAINTENANCE_QUEUE),
});

export class Tenant extends TheTenant {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, faulty(env));
  }
}

export class Shard extends TheShard {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, faulty(env));
  }
}

export class Hub extends TheHub {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, faulty(env));
  }
}

export class Catalogue extends TheCatalogue {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, faulty(env));
  }
}

const gateway = createGateway();

export default {
  fetch: (request, env, ctx) => gateway.fetch(request, faulty(env), ctx),
  scheduled: (event, env, ctx) => gateway.scheduled(event, faulty(env), ctx),
  async queue(batch, env, ctx) {
    if (struck(env)) throw new Error("The consumer died before its work.");
    await gateway.queue(batch, faulty(env), ctx);
    if (struck(env)) throw new Error("The consumer died after its work.");
  },
} satisfies typeof gateway;
