/** The lists of a device, each with the number of its open todos, and a way to make one. */
import { useMutation, useQuery } from "lakesync/react";
import { useState } from "react";
import { Lock, Pin, Plus } from "./icons.tsx";
import { rankAtEnd } from "./reorder.ts";
import { type List, useApp } from "./schema.ts";
import { nameOf, type User } from "./session.ts";

interface Props {
  readonly user: User;
  readonly lists: readonly List[];
  readonly current: string | undefined;
  readonly onChoose: (id: string) => void;
}

export function Lists({ user, lists, current, onChoose }: Props) {
  const counts = useQuery<{ list: string; n: number }>(
    "SELECT list, count(*) AS n FROM todos WHERE NOT done GROUP BY list",
  );
  const open = new Map(counts.rows.map(({ list, n }) => [list, n]));
  const [adding, setAdding] = useState(false);
  return (
    <nav className="lists" aria-label={`${nameOf(user)}’s lists`}>
      <ul>
        {lists.map((list) => (
          <li key={list.id}>
            <button
              type="button"
              aria-current={list.id === current ? "true" : undefined}
              onClick={() => onChoose(list.id)}
            >
              {list.scope === user && <Lock />}
              {list.scope === "notice" && <Pin />}
              <span>{list.name}</span>
              <span className="count" title="open">
                {open.get(list.id) ?? 0}
                <span className="visually-hidden"> open</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
      <button
        type="button"
        className="add"
        aria-label="New list"
        aria-expanded={adding}
        onClick={() => setAdding(!adding)}
      >
        <Plus />
      </button>
      {adding && (
        <NewList
          user={user}
          lists={lists}
          onDone={(id) => {
            setAdding(false);
            if (id) onChoose(id);
          }}
        />
      )}
    </nav>
  );
}

function NewList({
  user,
  lists,
  onDone,
}: Pick<Props, "user" | "lists"> & { readonly onDone: (id: string | undefined) => void }) {
  const client = useApp();
  const add = useMutation((name: string, scope: string) =>
    client.lists.insert({ name, scope, owner: user, rank: rankAtEnd(lists) }),
  );
  const submit = async (data: FormData) => {
    const name = String(data.get("name")).trim();
    if (name) onDone(await add.mutate(name, data.has("private") ? user : "shared"));
  };
  return (
    <form
      className="new-list row"
      action={submit}
      onKeyDown={(event) => {
        if (event.key === "Escape") onDone(undefined);
      }}
    >
      <input
        name="name"
        aria-label="Name of the new list"
        placeholder="Name of the list"
        required
        maxLength={80}
        // biome-ignore lint/a11y/noAutofocus: the user has just asked for the form
        autoFocus
      />
      <label className="private">
        <input type="checkbox" name="private" /> only {nameOf(user)}
      </label>
      <button type="submit" disabled={add.pending}>
        Add
      </button>
    </form>
  );
}
