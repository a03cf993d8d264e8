/** A real PostgreSQL whose disk is full. */
import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { PostgresAdapter } from "../../adapters/index.ts";
import { onPostgres, TODOS } from "../../adapters/testing.ts";
import { FlushScript } from "../../core/testing.ts";
import { unwrap } from "../../schemas/index.ts";
import { startPostgres } from "../../scripts/testing/postgres.ts";

/** Text that does not compress. */
function noise(seed: number): string {
  let state = seed + 1;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return String.fromCharCode(33 + ((state >>> 16) % 90));
  };
  return Array.from({ length: 8000 }, next).join("");
}

test("[F2] a full disk keeps the flush waiting, and takes it once there is space", async (context) => {
  const postgres = await startPostgres({ quiet: true });
  const folder = join(postgres.scratch, "small");
  mkdirSync(folder);
  const owner = statSync(join(postgres.scratch, "data"));
  try {
    execFileSync(
      "mount",
      ["-t", "tmpfs", "-o", `size=3m,uid=${owner.uid},gid=${owner.gid},mode=700`, "tmpfs", folder],
      { stdio: "ignore" },
    );
  } catch {
    await postgres.stop();
    return context.skip("no right to mount a small disk");
  }
  onTestFinished(async () => {
    await postgres.stop();
  });
  onTestFinished(() => void execFileSync("umount", ["-l", folder], { stdio: "ignore" }));
  chownSync(folder, owner.uid, owner.gid);
  await onPostgres(
    postgres.url,
    `CREATE TABLESPACE small LOCATION '${folder}'`,
    "ALTER DATABASE postgres SET default_tablespace = small",
  );
  const edits = new FlushScript(TODOS);
  for (let at = 0; at < 600; at++) edits.edit("INSERT", `row-${at}`, { title: noise(at) });
  const adapter = new PostgresAdapter({ connectionString: postgres.url });
  onTestFinished(() => adapter.close());
  unwrap(await adapter.ensureSchema(TODOS));
  expect(await adapter.insertDeltas(edits.batch())).toMatchObject({
    ok: false,
    error: {
      code: "DestinationUnavailable",
      message: expect.stringMatching(/disk is full/),
      details: { sqlState: "53100" },
    },
  });
  execFileSync("mount", ["-o", "remount,size=200m", folder]);
  expect(unwrap(await adapter.insertDeltas(edits.batch()))).toMatchObject({ watermark: 600 });
  expect(unwrap(await adapter.getLatestState({ table: TODOS, limit: 1000 })).rowIds).toHaveLength(600);
});
