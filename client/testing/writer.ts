/** A process that writes until it is killed: `node writer.ts <file>`. It prints each row id once its commit is durable. */
import { LocalDB, SyncTracker } from "../index.ts";

const path = process.argv[2] as string;
const db = await LocalDB.open({
  name: "writer",
  backend: "file",
  path,
  schema: { todos: { title: { type: "string" } } },
});
const tracker = new SyncTracker(db);
const [row] = await db.query<{ n: number }>("SELECT count(*) AS n FROM todos");
for (let n = row?.n ?? 0; ; n++) {
  await tracker.transaction(async (t) => {
    await t.insert("todos", `r${n}`, { title: `t${n}` });
    await t.update("todos", `r${n}`, { title: `u${n}` });
  });
  process.stdout.write(`r${n}\n`);
}
