/** What apps write, through the tracker and by plain SQL. Runs in the simulation, in a process and in a page. */
import type { LocalDB, SyncCoordinator } from "../client/index.ts";

export interface Op {
  readonly op: "insert" | "update" | "delete" | "upsert" | "bulk" | "sql" | "replace" | "rename";
  readonly table: string;
  readonly rowId: string;
  /** Texts are unique in a plan: by them an edit is known again wherever it turns up. */
  readonly values: Readonly<Record<string, string | number | null>>;
}

/** One transaction of an app. @returns what it wrote, once it is committed */
export async function write(db: LocalDB, sync: SyncCoordinator, ops: readonly Op[]): Promise<Written[]> {
  const written: Written[] = [];
  const [first] = ops;
  if (ops.length === 1 && first && ["sql", "replace", "rename"].includes(first.op)) await plainSql(db, first, written);
  else await tracked(sync, ops, written);
  return written;
}

/** One row written by a transaction: its texts are known again wherever they turn up. */
export interface Written {
  readonly op: "write" | "delete";
  readonly table: string;
  readonly rowId: string;
  readonly texts: readonly string[];
}

const textsOf = ({ values }: Op): string[] =>
  Object.values(values)
    .filter((v) => /^v\d/.test(String(v)))
    .map(String);

function tracked(sync: SyncCoordinator, ops: readonly Op[], written: Written[]): Promise<void> {
  return sync.tracker.transaction(async (tracker) => {
    written.length = 0;
    for (const op of ops) {
      const { table, rowId, values } = op;
      const wrote = { op: "write", table, rowId, texts: textsOf(op) } as const;
      if (op.op === "bulk") {
        const rows = Array.from({ length: 12 }, (_, n) => [`${rowId}-bulk${n}`, values] as const);
        await tracker.insertMany(table, rows);
        written.push(...rows.map(([id]) => ({ ...wrote, rowId: id })));
      } else if (op.op === "delete") {
        if (await tracker.delete(table, rowId)) written.push({ op: "delete", table, rowId, texts: [] });
      } else if (op.op !== "insert" && (await tracker.update(table, rowId, values))) written.push(wrote);
      else if (op.op !== "update") {
        await tracker.insert(table, rowId, values);
        written.push(wrote);
      }
    }
  });
}

async function plainSql(db: LocalDB, op: Op, written: Written[]): Promise<void> {
  const { table, rowId } = op;
  const [text = "v0"] = textsOf(op);
  const wrote = { op: "write", table, rowId, texts: [text] } as const;
  if (op.op === "sql") {
    const sql = `UPDATE ${table} SET title = ?, rank = coalesce(rank, 0) + 1 WHERE owner = ?`;
    if ((await db.exec(sql, [text, String(op.values.owner ?? "alice")])).changes > 0) written.push(wrote);
  } else if (op.op === "replace") {
    await db.exec(`INSERT OR REPLACE INTO ${table} (id, title, owner) VALUES (?, ?, ?)`, [
      rowId,
      text,
      String(op.values.owner ?? "alice"),
    ]);
    written.push(wrote);
  } else {
    const sql = `UPDATE OR REPLACE ${table} SET id = ? WHERE id = ?`;
    if ((await db.exec(sql, [`${rowId}-renamed`, rowId])).changes > 0)
      written.push({ op: "delete", table, rowId, texts: [] });
  }
}
