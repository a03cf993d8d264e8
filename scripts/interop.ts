/**
 * `npm run test:interop`: our tables, read by engines that nobody here wrote. Runs every *.interop.test.ts after it has
 * prepared Python, DuckDB with its extensions, Spark and MariaDB; ends like `npm test`.
 *
 * System packages (Python, Java, MariaDB) are installed only with LAKESYNC_APT=1, as .ci/run sets it: a developer's machine is the
 * developer's. Without Java, Spark's tests are left out and named; without MariaDB, MySQL's.
 */
import { execFileSync } from "node:child_process";
import { prepareBigQuery } from "./interop/bigquery.ts";
import { prepareNessie } from "./interop/foreign.ts";
import { missingSystemPackages, preparePython } from "./interop/python.ts";
import { INTEROP_KIND } from "./testing/kinds.ts";
import { lastLine, runVitest } from "./testing/run.ts";

const JAVA = "default-jre-headless";
const MARIADB = "mariadb-server";

function prepare(): string[] {
  const missing = missingSystemPackages();
  if (missing.length > 0 && process.env.LAKESYNC_APT === "1") {
    execFileSync("apt-get", ["update", "-qq"], { stdio: "inherit" });
    const install = ["install", "-y", "-qq", "--no-install-recommends", ...missing];
    execFileSync("apt-get", install, { stdio: "inherit", env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
  }
  preparePython();
  prepareBigQuery();
  const missingNow = missingSystemPackages();
  if (!missingNow.includes(JAVA)) prepareNessie();
  return missingNow;
}

let failed = 1;
let last = lastLine({ passed: 0, failed: 1, skipped: 0 });
try {
  const missing = prepare();
  const without: Record<string, string> = {
    ...(missing.includes(JAVA) && { LAKESYNC_WITHOUT_SPARK: "1" }),
    ...(missing.includes(MARIADB) && { LAKESYNC_WITHOUT_MARIADB: "1" }),
  };
  const tally = await runVitest(process.argv.slice(2), [INTEROP_KIND], { LAKESYNC_INTEROP: "1", ...without });
  for (const problem of tally.problems) console.error(`\n${problem}`);
  if (missing.includes(JAVA))
    console.log("left out: Spark, because there is no Java (Debian: apt-get install default-jre-headless)");
  if (missing.includes(MARIADB))
    console.log("left out: MariaDB, which is not installed (Debian: apt-get install mariadb-server)");
  failed = tally.failed;
  last = lastLine(tally);
} catch (error) {
  console.error(error);
}
console.log(last);
process.exitCode = failed === 0 ? 0 : 1;
