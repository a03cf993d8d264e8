/** The todos of one list: filtered, edited in place, put in order, taken back. */
import { useMutation, useQuery } from "lakesync/react";
import { useCallback, useRef, useState } from "react";
import { Editable } from "./editable.tsx";
import { Cross, Lake, Plus } from "./icons.tsx";
import { byRank, rankAfterMove, rankAtEnd } from "./reorder.ts";
import { type List, type Todo, useApp } from "./schema.ts";
import type { User } from "./session.ts";
import { TodoItem } from "./todo-item.tsx";
import { useDrag } from "./use-drag.ts";

const FILTERS = { all: "All", open: "Open", done: "Done" } as const;
type Filter = keyof typeof FILTERS;

const SCOPES = { shared: "Shared by Alice and Bob", notice: "Everybody reads it, only Alice may change it" };

interface Props {
  readonly user: User;
  readonly list: List;
}

export function TodoList({ user, list }: Props) {
  const { todos, lists } = useApp();
  const [filter, setFilter] = useState<Filter>("all");
  const query = useQuery(todos, { list: list.id });
  const { loading, error } = query;
  const unsent = useQuery<{ row_id: string }>("SELECT row_id FROM lakesync_pending WHERE tbl = 'todos'");
  const waiting = new Set(unsent.rows.map(({ row_id }) => row_id));
  const rows = query.rows.toSorted(byRank);
  const shown = rows.filter(({ done }) => filter === "all" || done === (filter === "done"));
  const [deleted, setDeleted] = useState<readonly Todo[]>([]);
  const box = useRef<HTMLUListElement>(null);

  const { id: listId, scope, owner } = list;
  const add = useMutation((title: string) =>
    // A todo belongs to the owner of its list: in a notice, the gateway takes it from nobody else.
    todos.insert({ list: listId, title, rank: rankAtEnd(rows), scope, owner }),
  );
  const rename = useMutation((name: string) => lists.update(listId, { name }));
  const { mutate: remove } = useMutation(async (gone: readonly Todo[]) => {
    setDeleted(gone);
    for (const { id } of gone) await todos.delete(id);
  });
  const restore = useMutation(async () => {
    setDeleted([]);
    await todos.insertMany(deleted);
  });
  const { mutate: move } = useMutation(async (id: string, to: number) => {
    const rank = rankAfterMove(shown, id, to);
    if (rank !== undefined) await todos.update(id, { rank });
  });
  const { drag, handle } = useDrag(box, move);
  const onRemove = useCallback((todo: Todo) => void remove([todo]), [remove]);
  const onStep = useCallback((id: string, to: number) => void move(id, to), [move]);

  const failure = error ?? add.error ?? rename.error;
  const open = rows.filter(({ done }) => !done).length;
  const done = rows.filter((todo) => todo.done);
  return (
    <div className="list">
      <header className="list-head">
        <h3>
          <Editable value={list.name} label="name of the list" onSave={(name) => void rename.mutate(name)} />
        </h3>
        <p>
          {rows.length === 0 ? "Nothing here yet" : open === 0 ? "All done" : `${open} to do`}
          <span> · {SCOPES[scope as keyof typeof SCOPES] ?? "Only you see it"}</span>
        </p>
      </header>

      <form
        className="new-todo"
        action={(data) => {
          const title = String(data.get("title")).trim();
          if (title) void add.mutate(title);
        }}
      >
        <Plus />
        <input name="title" aria-label="New todo" placeholder="Add a todo" autoComplete="off" maxLength={200} />
        <button type="submit">Add</button>
      </form>

      <fieldset className="filters">
        <legend className="visually-hidden">Show</legend>
        {(Object.keys(FILTERS) as Filter[]).map((name) => (
          <label key={name}>
            <input
              type="radio"
              name={`filter-${user}-${listId}`}
              checked={filter === name}
              onChange={() => setFilter(name)}
            />
            <span>{FILTERS[name]}</span>
          </label>
        ))}
        {done.length > 0 && (
          <button type="button" className="plain" onClick={() => void remove(done)}>
            Clear done
          </button>
        )}
      </fieldset>

      {failure && (
        <p className="notice refused" role="alert">
          {failure.message}
        </p>
      )}
      <ul className="todos" ref={box} aria-label={list.name} aria-busy={loading} data-dragging={drag !== undefined}>
        {shown.map((todo, at) => (
          <TodoItem
            key={todo.id}
            todo={todo}
            waits={waiting.has(todo.id)}
            at={at}
            count={shown.length}
            drag={drag?.id === todo.id ? drag.dy : undefined}
            shift={
              drag
                ? shiftOf(
                    at,
                    shown.findIndex(({ id }) => id === drag.id),
                    drag.to,
                  )
                : 0
            }
            handle={handle(todo.id, at)}
            onStep={onStep}
            onRemove={onRemove}
          />
        ))}
      </ul>
      {!loading && shown.length === 0 && <Empty filter={filter} any={rows.length > 0} />}
      {deleted.length > 0 && (
        <p className="undo" role="status">
          {deleted.length === 1 ? `“${deleted[0]?.title}” is deleted.` : `${deleted.length} todos are deleted.`}
          <button type="button" onClick={() => void restore.mutate()}>
            Undo
          </button>
          <button type="button" className="plain close" aria-label="Close" onClick={() => setDeleted([])}>
            <Cross />
          </button>
        </p>
      )}
    </div>
  );
}

/** Which way an item makes room for one that is dragged past it. */
function shiftOf(at: number, from: number, to: number): -1 | 0 | 1 {
  if (at > from && at <= to) return -1;
  return at < from && at >= to ? 1 : 0;
}

function Empty({ filter, any }: { readonly filter: Filter; readonly any: boolean }) {
  return (
    <div className="empty">
      <Lake />
      <p>
        {filter === "open" && any ? "Nothing left to do." : filter === "done" ? "Nothing done yet." : "A quiet lake."}
      </p>
    </div>
  );
}
