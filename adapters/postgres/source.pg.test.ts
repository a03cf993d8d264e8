/** What a real PostgreSQL leaves out of a source's pages by itself, against the judge of sync rules. */
import { inject, onTestFinished, test } from "vitest";
import { agreesWithRules, freshDatabase, onPostgres } from "../testing.ts";
import { PostgresSource } from "./source.ts";

test("[PL3] [PL7] the database leaves out no row that the rules show, and all others where it compares as they do", async () => {
  const { url } = await freshDatabase(inject("postgresUrl"));
  const source = new PostgresSource({ connectionString: url }, "things");
  onTestFinished(() => source.close());
  await onPostgres(
    url,
    `CREATE TABLE things (id integer PRIMARY KEY, word text COLLATE "en-x-icu", count bigint, price double precision, done boolean, due timestamptz);
     INSERT INTO things SELECT n,
       (ARRAY['a', 'A', 'b', 'B', 'Z', 'é', '', NULL])[1 + n % 8], (ARRAY[0, 1, 2, 9007199254740993, -1, NULL])[1 + n % 6],
       (ARRAY[0.1, 2, -1e300, NULL])[1 + n % 4], (ARRAY[true, false, NULL])[1 + n % 3],
       (ARRAY['2026-01-01T00:00:00.000001Z', '2026-01-01T00:00:00Z', '1999-12-31T23:59:59Z', NULL]::timestamptz[])[1 + n % 4]
     FROM generate_series(1, 200) AS n`,
  );
  await agreesWithRules(source, "public");
});
