/** The state of sync in one glance, and the switch that takes a device off the network. */
import { type SyncOverview, useSyncStatus } from "lakesync/react";
import { useId } from "react";
import { useApp } from "./schema.ts";
import { useOnline } from "./use-online.ts";

type Tone = "synced" | "busy" | "offline" | "refused";

function summary(status: SyncOverview, online: boolean): { tone: Tone; text: string } {
  const { state, pending, rejections, error } = status;
  const waiting = pending > 0 ? `, ${pending} waiting` : "";
  if (rejections.length > 0) return { tone: "refused", text: `${rejections.length} refused${waiting}` };
  if (state === "stopped" || !online) return { tone: "offline", text: `Offline${waiting}` };
  if (state === "waiting")
    return { tone: "offline", text: `${error?.code === "Unauthenticated" ? "Signed out" : "No connection"}${waiting}` };
  if (pending > 0) return { tone: "busy", text: `Sending ${pending}` };
  return { tone: "synced", text: "Synced" };
}

export function SyncBadge() {
  const status = useSyncStatus();
  const online = useOnline();
  const { tone, text } = status.loading ? { tone: "busy", text: "Opening" } : summary(status, online);
  return (
    <p className="badge" data-tone={tone} role="status" data-testid="sync">
      <span className="dot" aria-hidden="true" />
      {text}
    </p>
  );
}

export function OfflineSwitch() {
  const { sync } = useApp();
  const { state, loading, leads } = useSyncStatus();
  const offline = !loading && state === "stopped";
  const id = useId();
  // Another tab syncs this database: what it does is shown by the badge, and is its own to change.
  if (!leads) return null;
  return (
    <div className="switch">
      <label htmlFor={id}>Go offline</label>
      <input
        id={id}
        type="checkbox"
        role="switch"
        checked={offline}
        aria-checked={offline}
        disabled={loading}
        onChange={(event) => (event.target.checked ? sync.stopAutoSync() : sync.startAutoSync())}
      />
    </div>
  );
}
