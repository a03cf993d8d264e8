/**
 * What a table's former shards knew of each client's clock, kept by those that took its rows over: a push that is repeated
 * after a move finds the edits known that the old shard took (PU2).
 *
 * A checkpoint has the same, for a shard that is rebuilt from it.
 *
 * A device pushes oldest edits first, and all edits of a push to one shard land together: of one shard's rows, edits up to
 * the newest that it ever took of a client were all answered. One that was refused, whose answer got lost, and that is allowed by
 * the time it comes again, is taken for known only where it has lost everywhere: history does not tell of it then.
 */
import type { ClientId, HlcText } from "../../schemas/index.ts";
import type { SqlStore } from "../ports/index.ts";
import { rowHash } from "./config.ts";
import { listsOf, unpackHlcs } from "./log.ts";

type Client = { readonly client: string; readonly trimmed: string };
type Logged = { readonly client: string; readonly high: string };

/** Rows that a former shard had, and the newest clock that it had of a client. */
export interface MovedClock {
  readonly index: number;
  readonly of: number;
  readonly client: string;
  readonly upTo: string;
}

/** By table. */
export type ClientClocks = Readonly<Record<string, readonly MovedClock[]>>;

/** What this shard knows of a table's clients: its own part, and what it was told when it took rows over. */
export function movedClocks(sql: SqlStore, t: number, index: number, of: number): MovedClock[] {
  const own = new Map<string, string>();
  const note = (client: string, clock: string) => {
    if (clock > (own.get(client) ?? "")) own.set(client, clock);
  };
  for (const { client, trimmed } of sql.exec<Client>("SELECT client, trimmed FROM clients WHERE trimmed <> ''"))
    note(client, trimmed);
  for (const { client, high } of sql.exec<Logged>("SELECT client, high FROM log WHERE t = ?", t)) note(client, high);
  for (const list of listsOf(sql, t)) for (const clock of unpackHlcs(list.hlcs)) note(list.client, clock);
  const inherited = sql.exec<{ idx: number; of: number; client: string; upTo: string }>(
    "SELECT idx, of, client, upto AS upTo FROM moved WHERE t = ?",
    t,
  );
  return [
    ...[...own].map(([client, upTo]) => ({ index, of, client, upTo })),
    ...inherited.map(({ idx, of, client, upTo }) => ({ index: idx, of, client, upTo })),
  ];
}

/** Told again, it changes nothing. */
export function noteMovedClocks(sql: SqlStore, t: number, clocks: readonly MovedClock[]): void {
  sql.exec(
    `INSERT INTO moved (t, idx, of, client, upto)
     SELECT ?, value ->> 'index', value ->> 'of', value ->> 'client', value ->> 'upTo' FROM json_each(?) WHERE true
     ON CONFLICT (t, idx, of, client) DO UPDATE SET upto = max(upto, excluded.upto)`,
    t,
    JSON.stringify(clocks),
  );
}

export function forgetMovedClocks(sql: SqlStore, t: number): void {
  sql.exec("DELETE FROM moved WHERE t = ?", t);
}

/** Whether a former shard took an edit of a client. */
export function movedEdits(sql: SqlStore, t: number, client: ClientId): (rowId: string, hlc: HlcText) => boolean {
  const known = sql.exec<{ idx: number; of: number; upto: string }>(
    "SELECT idx, of, upto FROM moved WHERE t = ? AND client = ?",
    t,
    client,
  );
  return (rowId, hlc) => known.some(({ idx, of, upto }) => hlc <= upto && rowHash(rowId) % of === idx);
}
