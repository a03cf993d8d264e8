/** From a configuration to an adapter: leaves are made by the caller, once each; what is made of others is made here. */
import type { DatabaseAdapter } from "../core/index.ts";
import { type BackendConfig, invariant, type LeafConfig, type ParsedConfig } from "../schemas/index.ts";
import { CompositeAdapter } from "./composite.ts";
import { FanOutAdapter } from "./fan-out.ts";
import { LifecycleAdapter } from "./lifecycle.ts";

/**
 * The adapter that a gateway flushes to. A table goes to the backend that its own definition names (admin/tables), or else
 * the configuration; backends that nothing uses are not made until something does.
 * @param makeBackend makes a leaf; called once for each that is used
 * @param makeMissing stands in for one that a table names and nobody declared; without it such a table is refused
 * @throws what `makeBackend` throws
 */
export function buildBackend(
  config: ParsedConfig,
  makeBackend: (name: string, backend: LeafConfig) => DatabaseAdapter,
  makeMissing: (name: string) => DatabaseAdapter | undefined = () => undefined,
): DatabaseAdapter {
  const made = new Map<string, DatabaseAdapter>();
  const backendOf = (name: string): DatabaseAdapter => {
    const adapter = made.get(name) ?? make(name);
    made.set(name, adapter);
    return adapter;
  };
  const make = (name: string): DatabaseAdapter => {
    const backend = config.backends[name] as BackendConfig | undefined;
    invariant(backend, `the configuration was checked, and knows ${name}`);
    if (backend.type === "fan-out")
      return new FanOutAdapter({
        primary: backendOf(backend.primary),
        secondaries: backend.secondaries.map(backendOf),
      });
    if (backend.type === "lifecycle") {
      const { hot, cold } = backend;
      return new LifecycleAdapter({
        hot: { adapter: backendOf(hot.backend), maxAgeMs: hot.maxAgeMs },
        cold: { adapter: backendOf(cold.backend) },
      });
    }
    return makeBackend(name, backend);
  };
  const routes = Object.entries(config.tables).map(([table, name]) => ({ tables: [table], adapter: backendOf(name) }));
  return new CompositeAdapter({
    routes,
    ...(config.default !== undefined && { defaultAdapter: backendOf(config.default) }),
    named: (name) => (Object.hasOwn(config.backends, name) ? backendOf(name) : makeMissing(name)),
  });
}
