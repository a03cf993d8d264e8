/**
 * Followers: sockets whose device is current and asked for what comes next. A push over the hub brings their pages along in
 * the shard's answer, so that they have a row before the device that wrote it hears that it is safe; nobody asks again.
 *
 *   pull, no more to come       the device follows from the page's cursor
 *   push answered, page fits    page goes out, and the device follows from its cursor
 *   anything else               a poke, as for all others: the device pulls
 *
 * All of it is in memory: a hub that has slept knows no followers, pokes, and gets to know them by their pulls. A page is
 * what the device would get by pulling at that moment, by the same code; it is for those only that stand right before it, by
 * the same rules and claims (PL3 to PL5). A device that does not read gets no more than `FOLLOWED_BYTES_MAX` of them.
 */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Claims, FOLLOWED_BYTES_MAX, FOLLOWED_GROUPS_MAX, proto } from "../schemas/index.ts";
import { type Cursor, type CursorPart, encodeCursor } from "./cursor.ts";
import type { ShardPage } from "./shard/index.ts";

/** For whom a shard makes a page: all who see the same. */
export interface Onlooker {
  readonly claims: Claims;
  readonly tables: readonly string[];
  /** Of the device that pushes: what it wrote it holds. */
  readonly clientId: string;
}

/** What a push has changed in a shard: everything after one seq, up to another. */
export interface Moved {
  readonly before: number;
  readonly head: number;
  /** For each onlooker; absent where it did not fit one page. */
  readonly pages: readonly (ShardPage | undefined)[];
}

/** Where a device stands by a page that made it current. */
export interface Standing {
  readonly claims: Claims;
  readonly clientId: string;
  readonly cursor: Cursor;
  /** The tenant's version that the page goes by. */
  readonly version: number;
}

interface Follower extends Standing {
  /** The cursor as the device has it. Changes that it may not see move `cursor` on, and not this. */
  held: string;
  cursor: Cursor;
  credit: number;
}

export class Followers {
  readonly #followers = new Map<string, Follower>();

  stand(id: string, standing: Standing): void {
    this.#followers.set(id, { ...standing, held: encodeCursor(standing.cursor), credit: FOLLOWED_BYTES_MAX });
  }

  forget(id: string): void {
    this.#followers.delete(id);
  }

  /** Whether a device has been sent all that a shard had at this seq. */
  has(id: string, shard: string, head: number): boolean {
    return (this.#followers.get(id)?.cursor.shards.get(shard)?.position.seq ?? -1) >= head;
  }

  /** For whom a push to a shard brings pages. @param pusher whose socket it came on @returns by what they see */
  of(shard: string, pusher: string): ReadonlyMap<string, Onlooker> {
    const groups = new Map<string, Onlooker>();
    for (const [id, follower] of this.#followers) {
      const key = groupOf(id, follower, shard, pusher);
      if (key === undefined || groups.has(key)) continue;
      if (groups.size === FOLLOWED_GROUPS_MAX) break;
      const { claims, cursor } = follower;
      const tables = cursor.tables.split(",").filter(Boolean);
      groups.set(key, { claims, tables, clientId: id === pusher ? follower.clientId : "" });
    }
    return groups;
  }

  /** The frames of a change by socket, for those who follow from right before it. @param groups as `of` gave them */
  frames(
    shard: string,
    pusher: string,
    groups: Iterable<string>,
    moved: Moved,
  ): (id: string) => Uint8Array | undefined {
    const pages = new Map([...groups].map((key, at) => [key, moved.pages[at]]));
    const made = new Map<string, Uint8Array>();
    return (id) => {
      const follower = this.#followers.get(id);
      const key = follower && groupOf(id, follower, shard, pusher);
      const page = key === undefined ? undefined : pages.get(key);
      const part = follower?.cursor.shards.get(shard);
      if (!follower || !page || part?.position.seq !== moved.before) return undefined;
      if (page.fingerprint !== part.fingerprint || page.version !== follower.version) return undefined;
      const { fingerprint, position } = page;
      const cursor = {
        ...follower.cursor,
        shards: new Map(follower.cursor.shards).set(shard, { fingerprint, position }),
      };
      follower.cursor = cursor;
      if (page.batches.length === 0) return undefined;
      const next = encodeCursor(cursor);
      const name = `${key} ${follower.held} ${next}`;
      // Of one shard of several a digest says nothing.
      const digests = cursor.shards.size === 1 ? { ...page.digests } : {};
      const frame = made.get(name) ?? frameOf(page, { cursor: next, follows: follower.held, digests });
      made.set(name, frame);
      follower.held = next;
      follower.credit -= frame.byteLength;
      if (follower.credit < 0) this.#followers.delete(id);
      return frame;
    };
  }
}

/** Devices with one key see the same changes of a shard. The device that wrote also sees which of them are not for it. */
function groupOf(id: string, { cursor, clientId }: Follower, shard: string, pusher: string): string | undefined {
  const part: CursorPart | undefined = cursor.shards.get(shard);
  return part && JSON.stringify([part.fingerprint, cursor.tables, id === pusher ? clientId : ""]);
}

function frameOf({ batches }: ShardPage, more: MessageInitShape<typeof proto.PullResponseSchema>): Uint8Array {
  const packed = batches.map((b) => create(proto.DeltaBatchSchema, { ...b, columns: [...b.columns] }));
  const value = create(proto.PullResponseSchema, { ...more, batches: packed });
  return toBinary(proto.FrameSchema, create(proto.FrameSchema, { body: { case: "page", value } }));
}
