/** What a device has to tell its user: edits that the gateway refused, a token that is missing. */
import type { RejectedEdit } from "lakesync/client";
import { useQuery, useSyncStatus } from "lakesync/react";
import { useId } from "react";
import { useApp } from "./schema.ts";
import { GATEWAY_ID, keepToken, nameOf, type User } from "./session.ts";

/** The device's rows are as the gateway has them again; what was refused stays to be read until it is dismissed. */
export function Refusals() {
  const { rejections } = useSyncStatus();
  return rejections.length > 0 && <RefusalList rejections={rejections} />;
}

function RefusalList({ rejections }: { readonly rejections: readonly RejectedEdit[] }) {
  const { sync } = useApp();
  const names = useQuery<{ id: string; name: string }>(
    "SELECT id, title AS name FROM todos UNION ALL SELECT id, name FROM lists",
  );
  const nameOfRow = ({ rowId, columns }: RejectedEdit) =>
    names.rows.find(({ id }) => id === rowId)?.name ?? columns.title ?? columns.name ?? "a row";
  return (
    <section className="notice refused" aria-label="Refused changes">
      <ul>
        {rejections.map((edit) => (
          <li key={edit.id}>
            <strong>Your change to “{String(nameOfRow(edit))}” was undone.</strong>{" "}
            {edit.code === "WriteForbidden" ? "The gateway’s rules let only its owner change it." : edit.message}
          </li>
        ))}
      </ul>
      <button type="button" className="plain" onClick={() => void sync.dismiss()}>
        Dismiss
      </button>
    </section>
  );
}

/** Shown where nobody has put a token beside the app. */
export function SignIn({ user }: { readonly user: User }) {
  const { sync } = useApp();
  const { error } = useSyncStatus();
  const id = useId();
  if (error?.code !== "Unauthenticated") return null;
  const signIn = (data: FormData) => {
    keepToken(user, String(data.get("token")));
    sync.wake();
  };
  return (
    <form className="notice" action={signIn}>
      <label htmlFor={id}>
        <strong>Everything works here, but nothing is synced:</strong> the gateway wants a token for {nameOf(user)},
        such as this command prints.
      </label>
      <code>
        npm run token -- --gw {GATEWAY_ID} --sub {user}
      </code>
      <div className="row">
        <input id={id} name="token" required autoComplete="off" spellCheck={false} placeholder="eyJhbGciOi…" />
        <button type="submit">Sign in</button>
      </div>
    </form>
  );
}
