/** `useSyncStatus`: what an indicator of sync shows. */
import { useMemo, useSyncExternalStore } from "react";
import type { SyncCoordinator, SyncStatus } from "../sync/coordinator.ts";
import type { RejectedEdit } from "../sync/rejections.ts";
import { useClient } from "./provider.ts";
import { reuseRows } from "./reuse.ts";
import { type Start, shared } from "./shared.ts";

export interface SyncOverview extends SyncStatus {
  /** Until the coordinator has been asked for the first time; the rest says nothing yet. */
  readonly loading: boolean;
  /** Whether this tab is the one that syncs for all tabs of the database (C3): `startAutoSync` and `stopAutoSync` are its. */
  readonly leads: boolean;
  /** What the gateway refused and the app has not dismissed (`client.sync.dismiss`), oldest first (C6). */
  readonly rejections: readonly RejectedEdit[];
}

const UNKNOWN: SyncOverview = {
  loading: true,
  leads: true,
  state: "stopped",
  pending: 0,
  live: false,
  syncedAtMs: undefined,
  error: undefined,
  rejections: [],
};

export function useSyncStatus(): SyncOverview {
  const { sync } = useClient();
  const store = useMemo(() => shared(sync, "status", UNKNOWN, following(sync)), [sync]);
  return useSyncExternalStore(store.subscribe, store.snapshot, () => UNKNOWN);
}

/** Looks at the coordinator after everything that may have changed what it says; once for all that comes meanwhile. */
const following =
  (sync: SyncCoordinator): Start<SyncOverview> =>
  (set) => {
    let ended = false;
    let running = false;
    let dirty = false;
    const look = async () => {
      dirty = true;
      if (running) return;
      running = true;
      try {
        while (dirty && !ended) {
          dirty = false;
          const status = await sync.status();
          const rejections = await sync.rejections();
          if (!ended) set((held) => merged(held, { ...status, rejections, leads: sync.db.leads, loading: false }));
        }
      } catch {
        // The database is closed; the components that asked are about to go.
      } finally {
        running = false;
      }
    };
    const stops = [
      ...(["status", "progress", "synced", "rejected", "error"] as const).map((name) =>
        sync.on(name, () => void look()),
      ),
      // What comes from the gateway is told by the events above.
      sync.on("change", ({ origin }) => void (origin === "local" && look())),
    ];
    void look();
    return () => {
      ended = true;
      for (const stop of stops) stop();
    };
  };

function merged(held: SyncOverview, next: SyncOverview): SyncOverview {
  const rejections = reuseRows(held.rejections, next.rejections);
  const same = (Object.keys(next) as (keyof SyncOverview)[]).every(
    (name) => name === "rejections" || held[name] === next[name],
  );
  return same && rejections === held.rejections ? held : { ...next, rejections };
}
