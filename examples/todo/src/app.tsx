/** Two people, two devices: side by side where there is room, one at a time where there is not. */
import { useCallback, useState } from "react";
import { Device } from "./device.tsx";
import { Mark } from "./icons.tsx";
import type { AppClient } from "./schema.ts";
import { nameOf, USERS, type User } from "./session.ts";
import { Theatre } from "./theatre.tsx";

/** `?user=alice` is that user's device alone, as on a machine of their own. */
const asked = new URLSearchParams(location.search).get("user");
const only = USERS.find((user) => user === asked);

export function App() {
  const [shown, show] = useState<User>(only ?? "alice");
  const [clients, setClients] = useState<Partial<Record<User, AppClient>>>({});
  const onClient = useCallback(
    (user: User, client: AppClient | undefined) => setClients((held) => ({ ...held, [user]: client })),
    [],
  );
  const { alice, bob } = clients;
  return (
    <div className="app" data-view={only ? "one" : "two"}>
      <header className="app-head">
        <h1>
          <Mark />
          Shoreline
        </h1>
        {!only && (
          <>
            <fieldset className="people">
              <legend className="visually-hidden">Device</legend>
              {USERS.map((user) => (
                <label key={user} data-user={user}>
                  <input type="radio" name="shown" checked={shown === user} onChange={() => show(user)} />
                  <span>{nameOf(user)}</span>
                </label>
              ))}
            </fieldset>
            {alice && bob && <Theatre alice={alice} bob={bob} />}
          </>
        )}
      </header>
      <main className="devices">
        {(only ? [only] : USERS).map((user) => (
          <Device key={user} user={user} current={user === shown} onClient={onClient} />
        ))}
      </main>
      <footer className="app-foot">
        Every change is saved on the device first, and synced when there is a network.
      </footer>
    </div>
  );
}
