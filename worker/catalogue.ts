/**
 * Whose catalogue flushes commit to: the gateway's own, or another that speaks Iceberg's REST protocol, by configuration.
 *
 *   CATALOGUE_URI          https://catalogue.example/iceberg; without it, the gateway's own
 *   CATALOGUE_WAREHOUSE    where the catalogue has several
 *   CATALOGUE_TOKEN        a bearer token, or
 *   CATALOGUE_CLIENT_ID, CATALOGUE_CLIENT_SECRET, CATALOGUE_SCOPE, CATALOGUE_TOKEN_URI    OAuth 2 client credentials
 *
 * Tables of a gateway are in a namespace of its name: other gateways may share the catalogue. Its warehouse has to lie in the
 * bucket that LAKE is bound to.
 */
import type { Env } from "../durable-objects/index.ts";
import { type RestAuth, RestCatalogue } from "../lake/index.ts";
import { LakeSyncError } from "../schemas/index.ts";

/** One for each configuration: it remembers what the catalogue said of itself, and its token. */
const known = new Map<string, RestCatalogue>();

function authOf(env: Env): RestAuth {
  const { CATALOGUE_TOKEN: token, CATALOGUE_CLIENT_ID: clientId, CATALOGUE_CLIENT_SECRET: clientSecret } = env;
  if (token && (clientId || clientSecret))
    throw new LakeSyncError("Misconfigured", "Set CATALOGUE_TOKEN or CATALOGUE_CLIENT_ID and its secret, not both.");
  if (token) return { type: "bearer", token };
  if (!clientId && !clientSecret) return { type: "none" };
  if (!clientId || !clientSecret)
    throw new LakeSyncError("Misconfigured", "CATALOGUE_CLIENT_ID and CATALOGUE_CLIENT_SECRET go together.");
  return {
    type: "oauth2",
    clientId,
    clientSecret,
    ...(env.CATALOGUE_SCOPE && { scope: env.CATALOGUE_SCOPE }),
    ...(env.CATALOGUE_TOKEN_URI && { tokenUri: env.CATALOGUE_TOKEN_URI }),
  };
}

/** The catalogue that the configuration names; undefined where that is the gateway's own. */
export function foreignCatalogue(env: Env): RestCatalogue | undefined {
  const { CATALOGUE_URI: uri, CATALOGUE_WAREHOUSE: warehouse } = env;
  if (!uri) return undefined;
  const auth = authOf(env);
  const name = JSON.stringify([uri, warehouse, auth]);
  const catalogue =
    known.get(name) ??
    new RestCatalogue({
      uri,
      ...(warehouse && { warehouse }),
      auth,
      fetch: (...args: Parameters<typeof fetch>) => fetch(...args),
      clock: Date,
    });
  known.set(name, catalogue);
  return catalogue;
}
