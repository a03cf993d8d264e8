/** The Iceberg routes of /openapi.json: which there are. Their bodies are those of the Iceberg REST specification. */

const SPECIFICATION = "https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml";

const ROUTES: readonly (readonly [method: string, path: string, summary: string])[] = [
  ["post", "/oauth/tokens", "Gives a token back to clients that only know client credentials."],
  ["get", "/config", "What a client has to know first: its prefix and the routes."],
  ["get", "/{prefix}/namespaces", "Lists namespaces."],
  ["post", "/{prefix}/namespaces", "Makes a namespace."],
  ["get", "/{prefix}/namespaces/{namespace}", "A namespace's properties."],
  ["delete", "/{prefix}/namespaces/{namespace}", "Drops an empty namespace."],
  ["post", "/{prefix}/namespaces/{namespace}/properties", "Sets and removes properties."],
  ["get", "/{prefix}/namespaces/{namespace}/tables", "Lists tables."],
  ["post", "/{prefix}/namespaces/{namespace}/tables", "Makes a table, or stages one."],
  ["post", "/{prefix}/namespaces/{namespace}/register", "Takes a table over by its metadata file."],
  ["get", "/{prefix}/namespaces/{namespace}/tables/{table}", "Loads a table."],
  ["post", "/{prefix}/namespaces/{namespace}/tables/{table}", "Commits to a table."],
  ["delete", "/{prefix}/namespaces/{namespace}/tables/{table}", "Drops a table."],
  ["get", "/{prefix}/namespaces/{namespace}/tables/{table}/credentials", "Lends credentials to read the lake's files."],
  ["post", "/{prefix}/namespaces/{namespace}/tables/{table}/metrics", "Takes a client's metrics."],
  ["post", "/{prefix}/tables/rename", "Renames a table."],
  ["post", "/{prefix}/transactions/commit", "Commits to several tables at once."],
];

function pathItem(path: string): Record<string, unknown> {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const parameters = names.map((name) => ({ name, in: "path", required: true, schema: { type: "string" } }));
  const operations = ROUTES.filter(([, p]) => p === path).map(([method, , summary]) => [
    method,
    {
      tags: ["Iceberg REST"],
      summary,
      externalDocs: { url: SPECIFICATION },
      responses: { default: { description: "As the Iceberg REST specification has it." } },
    },
  ]);
  return { ...(parameters.length > 0 && { parameters }), ...Object.fromEntries(operations) };
}

export const ICEBERG_PATHS: Record<string, unknown> = Object.fromEntries(
  ROUTES.map(([, path]) => [`/iceberg/v1${path}`, pathItem(path)]),
);
