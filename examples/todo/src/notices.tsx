/** What a device has to tell its user: edits that the gateway refused, a token that is missing. */
import { useSyncStatus } from "lakesync/react";
import { useId } from "react";
import { useApp } from "./schema.ts";
import { GATEWAY_ID, keepToken, nameOf, type User } from "./session.ts";

const WHAT = { INSERT: "Adding", UPDATE: "Changing", DELETE: "Deleting" } as const;

/** The device's rows are as the gateway has them again; what was refused stays to be read until it is dismissed. */
export function Refusals() {
  const { sync } = useApp();
  const { rejections } = useSyncStatus();
  if (rejections.length === 0) return null;
  return (
    <section className="notice refused" aria-label="Refused changes">
      <ul>
        {rejections.map(({ id, op, columns, message }) => (
          <li key={id}>
            <strong>
              {WHAT[op]} {String(columns.title ?? columns.name ?? Object.keys(columns).join(", ") ?? "")} was refused
              and undone.
            </strong>{" "}
            {message}
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
