/**
 * Who uses the app, and how a device of theirs reaches the gateway. A token comes from a file that whoever serves the app
 * has put beside it (the demo does), or from the user, who pasted it. The app itself holds no secret.
 */
import { type ClientOptions, LakeSyncError } from "lakesync/client";
import { schema } from "./schema.ts";

export const USERS = ["alice", "bob"] as const;
export type User = (typeof USERS)[number];
export const nameOf = (user: User): string => (user === "alice" ? "Alice" : "Bob");

export const GATEWAY_ID: string = import.meta.env.VITE_GATEWAY_ID ?? "todo";

/** Each user has a device with a database of its own; the gateway is where the app came from. */
export const deviceOptions = (user: User): ClientOptions<typeof schema> => ({
  name: `shoreline-${user}`,
  schema,
  url: location.origin,
  gatewayId: GATEWAY_ID,
  token: () => tokenOf(user),
});

const pastedAt = (user: User) => `shoreline.token.${user}`;

export const keepToken = (user: User, token: string): void => localStorage.setItem(pastedAt(user), token.trim());

async function tokenOf(user: User): Promise<string> {
  const pasted = localStorage.getItem(pastedAt(user));
  if (pasted) return pasted;
  const response = await fetch(`/session/${user}.json`).catch((cause) => {
    throw new LakeSyncError("Network", "The gateway cannot be reached.", {}, { cause });
  });
  const session = response.ok ? await response.json().catch(() => undefined) : undefined;
  if (typeof session?.token === "string") return session.token;
  throw new LakeSyncError("Unauthenticated", `There is no token for ${nameOf(user)} here; paste one.`);
}
