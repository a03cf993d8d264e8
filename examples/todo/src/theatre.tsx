/** "Show me a conflict": the script of conflict.ts, played on both devices, with the one row that it is about side by side. */
import type { LakeSyncError } from "lakesync/client";
import { LakeSyncProvider, useQuery, useSyncStatus } from "lakesync/react";
import { useEffect, useRef, useState } from "react";
import { ACTS, type Act, type Devices } from "./conflict.ts";
import { Check, Cross } from "./icons.tsx";
import { useApp } from "./schema.ts";
import { nameOf, USERS, type User } from "./session.ts";
import { SyncBadge } from "./sync-badge.tsx";
import { useGeneration } from "./use-generation.ts";

/** The task of the script; one row, used again each time. */
const TASK = "picnic";
const PAUSE_MS = 1700;

export function Theatre(devices: Devices) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [act, setAct] = useState<Act>();
  const close = () => dialog.current?.close();
  return (
    <>
      <button
        type="button"
        className="show"
        onClick={() => {
          setAct("columns");
          dialog.current?.showModal();
        }}
      >
        Show me a conflict
      </button>
      <dialog ref={dialog} className="theatre" aria-labelledby="theatre-title" onClose={() => setAct(undefined)}>
        {act && <Play key={act} act={act} devices={devices} onAct={setAct} onClose={close} />}
      </dialog>
    </>
  );
}

interface PlayProps {
  readonly act: Act;
  readonly devices: Devices;
  readonly onAct: (act: Act) => void;
  readonly onClose: () => void;
}

function Play({ act, devices, onAct, onClose }: PlayProps) {
  const steps = ACTS[act];
  const { at, error } = usePlay(act, devices);
  const over = at === steps.length - 1;
  return (
    <>
      <div className="bar">
        <h2 id="theatre-title">{act === "columns" ? "Two edits of one task" : "Two edits of one cell"}</h2>
        <button type="button" className="plain close" aria-label="Close" onClick={onClose}>
          <Cross />
        </button>
      </div>
      <div className="stages">
        {USERS.map((user) => (
          <LakeSyncProvider key={user} client={devices[user]}>
            <Stage user={user} />
          </LakeSyncProvider>
        ))}
      </div>
      <ol className="steps" aria-live="polite">
        {steps.slice(0, at + 1).map(({ text }, n) => (
          <li key={text} aria-current={n === at ? "step" : undefined}>
            {text}
          </li>
        ))}
      </ol>
      {error && (
        <p className="notice refused" role="alert">
          {error.message}
        </p>
      )}
      <div className="bar foot">
        {act === "columns" ? (
          <button type="button" disabled={!over} onClick={() => onAct("same")}>
            And if both edit the same cell?
          </button>
        ) : (
          <button type="button" disabled={!over} onClick={() => onAct("columns")}>
            Play the first again
          </button>
        )}
        <button type="button" className="plain" onClick={onClose}>
          Close
        </button>
      </div>
    </>
  );
}

/** Plays an act from its first step. @returns the step that it is at */
function usePlay(
  act: Act,
  { alice, bob }: Devices,
): { readonly at: number; readonly error: LakeSyncError | undefined } {
  const [at, setAt] = useState(0);
  const [error, setError] = useState<LakeSyncError>();
  useEffect(() => {
    let stopped = false;
    const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    const play = async () => {
      await Promise.resolve(); // StrictMode's first mount is gone by now
      for (const [n, { run }] of ACTS[act].entries()) {
        if (stopped) return;
        setAt(n);
        await run?.({ alice, bob }, TASK);
        await pause();
      }
    };
    play().catch(setError);
    return () => {
      stopped = true;
      alice.sync.startAutoSync();
      bob.sync.startAutoSync();
    };
  }, [act, alice, bob]);
  return { at, error };
}

/** The row as one device has it, column by column. */
function Stage({ user }: { readonly user: User }) {
  const { todos } = useApp();
  const { state } = useSyncStatus();
  const { rows } = useQuery(todos, { id: TASK });
  const row = rows[0];
  const title = useGeneration(row?.title);
  const done = useGeneration(row?.done);
  return (
    <section className="stage" data-user={user} data-offline={state === "stopped"} aria-label={nameOf(user)}>
      <header>
        <span className="avatar" aria-hidden="true">
          {nameOf(user)[0]}
        </span>
        <h3>{nameOf(user)}</h3>
        <SyncBadge />
      </header>
      <dl>
        <div>
          <dt>title</dt>
          <dd key={`title-${title}`} className={title > 0 ? "changed" : undefined}>
            {row?.title ?? "…"}
          </dd>
        </div>
        <div>
          <dt>done</dt>
          <dd key={`done-${done}`} className={done > 0 ? "changed" : undefined}>
            <span className="box" data-done={row?.done ?? false}>
              {row?.done && <Check />}
            </span>
            {row?.done ? "yes" : "no"}
          </dd>
        </div>
      </dl>
    </section>
  );
}
