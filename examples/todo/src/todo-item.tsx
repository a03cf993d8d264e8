/** One todo. It is rendered again only when its own row changed, or when it moves. */
import { useMutation } from "lakesync/react";
import { memo, type PointerEvent, useEffect, useRef } from "react";
import { Editable } from "./editable.tsx";
import { Check, Cross, Grip } from "./icons.tsx";
import { type Todo, useApp } from "./schema.ts";

interface Props {
  readonly todo: Todo;
  /** An edit of it has not been sent yet. */
  readonly waits: boolean;
  readonly at: number;
  readonly count: number;
  /** How far it is dragged just now, pixels. */
  readonly drag: number | undefined;
  /** Which way it makes room for another. */
  readonly shift: -1 | 0 | 1;
  readonly handle: { onPointerDown(event: PointerEvent<HTMLElement>): void };
  readonly onStep: (id: string, to: number) => void;
  readonly onRemove: (todo: Todo) => void;
}

const unchanged = (a: Props, b: Props): boolean =>
  (["todo", "waits", "at", "count", "drag", "shift", "onStep", "onRemove"] as const).every(
    (name) => a[name] === b[name],
  );

export const TodoItem = memo(function TodoItem({
  todo,
  waits,
  at,
  count,
  drag,
  shift,
  handle,
  onStep,
  onRemove,
}: Props) {
  const { todos } = useApp();
  const { id, title, done } = todo;
  const edit = useMutation((values: Partial<Pick<Todo, "title" | "done">>) => todos.update(id, values));
  const grip = useRef<HTMLButtonElement>(null);
  const stepped = useRef(false);
  // An element that is moved in the page loses the focus.
  // biome-ignore lint/correctness/useExhaustiveDependencies: after each move
  useEffect(() => {
    if (stepped.current) grip.current?.focus();
    stepped.current = false;
  }, [at]);
  return (
    <li
      className="todo"
      data-done={done}
      data-shift={shift}
      data-dragged={drag !== undefined}
      style={drag === undefined ? undefined : { transform: `translateY(${drag}px)` }}
    >
      <button
        ref={grip}
        type="button"
        className="grip"
        aria-label={`Move ${title}, ${at + 1} of ${count}: arrow up or down`}
        onKeyDown={(event) => {
          const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
          if (step === undefined) return;
          event.preventDefault();
          stepped.current = at + step >= 0 && at + step < count;
          onStep(id, at + step);
        }}
        {...handle}
      >
        <Grip />
      </button>
      <label className="tick">
        <input
          type="checkbox"
          checked={done}
          aria-label={`Done: ${title}`}
          onChange={(event) => void edit.mutate({ done: event.target.checked })}
        />
        <span aria-hidden="true">
          <Check />
        </span>
      </label>
      <Editable value={title} label={`title of ${title}`} onSave={(text) => void edit.mutate({ title: text })} />
      {waits && <span className="waits" role="img" aria-label="Not sent yet" title="Not sent yet" />}
      <button type="button" className="remove" aria-label={`Delete ${title}`} onClick={() => onRemove(todo)}>
        <Cross />
      </button>
    </li>
  );
}, unchanged);
