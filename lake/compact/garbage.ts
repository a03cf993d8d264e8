/**
 * Files that no snapshot needs, on their way out (L5). A file is deleted only after it was seen without use, noted down, and
 * seen without use again a grace period later:
 *
 *   mark    <table>/metadata/garbage-<time>-<name>.json: from now on nobody new can find these files
 *   wait    who began to read before goes on for the grace period
 *   sweep   delete what the metadata of now does not name either, then the mark
 *
 * A mark is written after the fact that it states, so it never comes too early; killed before, the files are orphans,
 * which orphan removal finds and marks. A sweep that is killed is swept again. Names of files are never used twice
 * (locations.ts), so a file without use stays without use.
 */
import type { LakeObject, LoadedTable } from "../../core/index.ts";
import { unwrap } from "../../schemas/index.ts";
import { attemptName, fault, keyOf, type LakeDeps } from "../iceberg/index.ts";
import { reachableFrom } from "./reachable.ts";

/** Stores delete this many keys in one request. */
const DELETE_KEYS = 1000;
const PREFIX = "garbage-";

interface Mark {
  readonly markedMs: number;
  /** Keys of the store. */
  readonly files: readonly string[];
}

const folderOf = (deps: LakeDeps, { metadata }: LoadedTable): string => `${keyOf(deps.store, metadata.location)}/`;
const prefixOf = (deps: LakeDeps, table: LoadedTable): string => `${folderOf(deps, table)}metadata/${PREFIX}`;

export const isMark = (deps: LakeDeps, table: LoadedTable, key: string): boolean =>
  key.startsWith(prefixOf(deps, table));

/** Notes files that nobody can find any more. Files outside of the table's folder are not ours, and left out. */
export async function markGarbage(deps: LakeDeps, table: LoadedTable, keys: Iterable<string>): Promise<number> {
  const folder = folderOf(deps, table);
  const files = [...keys].filter((key) => key.startsWith(folder));
  if (files.length === 0) return 0;
  const markedMs = deps.clock.now();
  const key = `${prefixOf(deps, table)}${markedMs}-${attemptName(deps)}.json`;
  const body = new TextEncoder().encode(JSON.stringify({ markedMs, files } satisfies Mark));
  unwrap(await deps.store.put(key, body, { contentType: "application/json", ifAbsent: true }));
  return files.length;
}

/** Files that are marked already. */
export async function markedFiles(deps: LakeDeps, table: LoadedTable): Promise<Set<string>> {
  const files = new Set<string>();
  for (const { mark } of await readMarks(deps, table)) for (const key of mark.files) files.add(key);
  return files;
}

/** Deletes files whose grace period is over. @returns how many */
export async function sweepGarbage(deps: LakeDeps, table: LoadedTable, graceMs: number): Promise<number> {
  const due = (await readMarks(deps, table)).filter(({ mark }) => mark.markedMs + graceMs <= deps.clock.now());
  if (due.length === 0) return 0;
  const needed = await reachableFrom(deps.store, table);
  const folder = folderOf(deps, table);
  let deleted = 0;
  for (const { key, mark } of due) {
    const files = mark.files.filter((file) => file.startsWith(folder) && !needed.has(file));
    await fault(deps, "sweep: after the look, before files go");
    for (let at = 0; at < files.length; at += DELETE_KEYS)
      unwrap(await deps.store.delete(files.slice(at, at + DELETE_KEYS)));
    await fault(deps, "sweep: after files went, before the mark goes");
    unwrap(await deps.store.delete([key]));
    deleted += files.length;
  }
  return deleted;
}

async function readMarks(deps: LakeDeps, table: LoadedTable): Promise<{ key: string; mark: Mark }[]> {
  const marks: { key: string; mark: Mark }[] = [];
  for await (const { key } of listAll(deps, prefixOf(deps, table))) {
    const body = await deps.store.get(key);
    if (!body.ok && body.error.code === "NotFound") continue; // another sweep was faster
    marks.push({ key, mark: JSON.parse(new TextDecoder().decode(unwrap(body))) as Mark });
  }
  return marks;
}

/** All objects below a prefix. */
export async function* listAll(deps: LakeDeps, prefix: string): AsyncGenerator<LakeObject> {
  for (let cursor: string | undefined; ; ) {
    const page = unwrap(await deps.store.list(prefix, cursor));
    yield* page.objects;
    if (page.cursor === undefined) return;
    cursor = page.cursor;
  }
}
