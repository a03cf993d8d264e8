/** What handlers of the gateway's Hono app find in their context. */
import type { Context } from "hono";
import type { Env, Grant, Router } from "../durable-objects/index.ts";

export interface AppEnv {
  Bindings: Env;
  Variables: {
    requestId: string;
    router: Router;
    /** Set by the authentication middleware. */
    grant: Grant;
  };
}

export type AppContext = Context<AppEnv>;
