/** Text that is edited where it stands: Enter or leaving keeps it, Escape does not. */
import { useRef, useState } from "react";
import { useGeneration } from "./use-generation.ts";

interface Props {
  readonly value: string;
  /** What is edited, for assistive technology: "title of Oat milk". */
  readonly label: string;
  readonly onSave: (value: string) => void;
}

export function Editable({ value, label, onSave }: Props) {
  const [editing, setEditing] = useState(false);
  const generation = useGeneration(value);
  const button = useRef<HTMLButtonElement>(null);

  const finish = (text: string | undefined, refocus: boolean) => {
    setEditing(false);
    const trimmed = text?.trim();
    if (trimmed && trimmed !== value) onSave(trimmed);
    if (refocus) requestAnimationFrame(() => button.current?.focus());
  };

  if (editing)
    return (
      <input
        className="editable editing"
        aria-label={`Edit ${label}`}
        defaultValue={value}
        maxLength={200}
        // biome-ignore lint/a11y/noAutofocus: the user has just asked to edit
        autoFocus
        onFocus={(event) => event.currentTarget.select()}
        onBlur={(event) => finish(event.currentTarget.value, false)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === "Enter") finish(event.currentTarget.value, true);
          if (event.key === "Escape") {
            event.currentTarget.value = value; // what onBlur will see
            finish(undefined, true);
          }
        }}
      />
    );
  return (
    <button ref={button} type="button" className="editable" title="Edit" onClick={() => setEditing(true)}>
      <span key={generation} className={generation > 0 ? "changed" : undefined}>
        {value}
      </span>
    </button>
  );
}
