/** One user's device: its own database, its own connection, its own view of the lists. */
import { LakeSyncProvider, useQuery } from "lakesync/react";
import { useEffect, useState } from "react";
import { Lists } from "./lists.tsx";
import { Refusals, SignIn } from "./notices.tsx";
import { byRank } from "./reorder.ts";
import { type AppClient, useApp } from "./schema.ts";
import { deviceOptions, nameOf, type User } from "./session.ts";
import { OfflineSwitch, SyncBadge } from "./sync-badge.tsx";
import { TodoList } from "./todo-list.tsx";

interface Props {
  readonly user: User;
  /** Whether it is the one that a narrow screen shows. */
  readonly current: boolean;
  /** Told when the device is ready, and when it is gone. */
  readonly onClient: (user: User, client: AppClient | undefined) => void;
}

export function Device({ user, current, onClient }: Props) {
  const [options] = useState(() => deviceOptions(user));
  return (
    <section className="device" data-user={user} data-current={current} aria-label={`${nameOf(user)}’s device`}>
      <LakeSyncProvider
        options={options}
        fallback={<Skeleton user={user} />}
        failed={(error, retry) => (
          <div className="failed" role="alert">
            <h2>The database could not be opened</h2>
            <p>{error.message}</p>
            <button type="button" onClick={retry}>
              Try again
            </button>
          </div>
        )}
      >
        <Screen user={user} onClient={onClient} />
      </LakeSyncProvider>
    </section>
  );
}

function Screen({ user, onClient }: Omit<Props, "current">) {
  const client = useApp();
  useEffect(() => {
    onClient(user, client);
    return () => onClient(user, undefined);
  }, [user, client, onClient]);

  const { rows, loading } = useQuery(client.lists);
  const lists = rows.toSorted(byRank);
  const [chosen, choose] = useState<string>();
  const current = lists.find((list) => list.id === chosen) ?? lists[0];
  return (
    <>
      <header className="device-head">
        <span className="avatar" aria-hidden="true">
          {nameOf(user)[0]}
        </span>
        <h2>{nameOf(user)}</h2>
        <SyncBadge />
        <OfflineSwitch />
      </header>
      <Refusals />
      <SignIn user={user} />
      <Lists user={user} lists={lists} current={current?.id} onChoose={choose} />
      {current ? (
        <TodoList key={current.id} user={user} list={current} />
      ) : (
        !loading && <p className="empty">No lists yet. Make the first one above; it works without a network, too.</p>
      )}
    </>
  );
}

function Skeleton({ user }: { readonly user: User }) {
  return (
    <div className="skeleton" role="status" aria-label={`Opening ${nameOf(user)}’s database`}>
      {[0, 1, 2, 3, 4].map((n) => (
        <span key={n} />
      ))}
    </div>
  );
}
