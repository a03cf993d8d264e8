/**
 * Every bound in LakeSync, in one place, with its unit and its cause. Past a bound there is a typed error (S4).
 */

const KiB = 1024;
const MiB = 1024 * KiB;
const SECOND = 1000;

/** Identifiers become SQL, Iceberg and Postgres names; Postgres cuts names at 63 bytes. Characters. */
export const IDENTIFIER_CHARS_MAX = 63;
/** A row id is part of a primary key and of object keys' bounds; UTF-8 bytes. */
export const ROW_ID_BYTES_MAX = 512;
/** A client id is repeated in every stamp; characters. */
export const CLIENT_ID_CHARS_MAX = 64;

/** Durable Object SQLite refuses a row over 2 MB in production; a row's state and a log entry stay well below. Bytes. */
export const ROW_BYTES_MAX = 1 * MiB;
/** A cell has to leave room for the rest of its row. Bytes of its canonical form. */
export const CELL_BYTES_MAX = 512 * KiB;
/** Protobuf decoders stop at 100 nested messages; a level of JSON takes up to three of them, a page and its rows seven. Levels. */
export const JSON_DEPTH_MAX = 30;
/** A log entry is one SQLite row (2 MB in production), and is held in memory while it is read. Bytes. */
export const LOG_ENTRY_BYTES_MAX = 1 * MiB;

/** Durable Object SQLite allows 100 columns a table; devices keep the row id and bookkeeping beside the user's. */
export const COLUMNS_MAX = 90;
/** Table schemas travel to every shard and device. */
export const TABLES_MAX = 500;
/** More shards of one table than this are a design fault of the app; each is a Durable Object to poke and flush. */
export const SHARDS_PER_TABLE_MAX = 64;
/** A pull asks every shard, each a subrequest, and its cursor names each. */
export const SHARDS_PER_GATEWAY_MAX = 256;
/** Schemas, rules and shard map are one SQLite row (2 MB in production), in the tenant and in each shard. UTF-16 units. */
export const TENANT_CHARS_MAX = 512 * KiB;
/** Sync rules are evaluated for each row on each pull. */
export const BUCKETS_MAX = 100;
export const FILTERS_PER_BUCKET_MAX = 32;
export const FILTER_LIST_MAX = 1000;

/** A request is held in memory, decoded, beside others in an isolate of 128 MB. Bytes, after decompression. */
export const BODY_BYTES_MAX = 8 * MiB;
/** One push is one SQLite transaction in each shard. */
export const PUSH_DELTAS_MAX = 10_000;
/** A page is held in memory on both ends, and a WebSocket message may have 32 MiB. Bytes. */
export const PAGE_BYTES_DEFAULT = 1 * MiB;
export const PAGE_BYTES_MAX = 4 * MiB;
/** Rows that one query asks of a source, and queries of one pull: filters that the database cannot decide may leave few. */
export const SOURCE_ROWS = 500;
export const SOURCE_QUERIES_MAX = 5;
/** SQLite binds a whole page's keys through one json_each. */
export const PAGE_ROWS_MAX = 10_000;
/** Rows that a page looks at, shown or not: at some 10 µs each it holds the shard up for half a second at most. */
export const PAGE_LOOKS_MAX = 50_000;
/** Rows are read this much at a time, as far as their sizes can be guessed. Characters. */
export const READ_AHEAD_CHARS = 2 * MiB;
/** A token with claims travels in each request; Workers cap headers at 128 KB in all. Characters. */
export const TOKEN_CHARS_MAX = 8 * KiB;
/** A cursor names each shard once (256), with a row id (512 bytes, escaped) where it is still being read. Characters. */
export const CURSOR_CHARS_MAX = 512 * KiB;

/** A remote stamp further ahead than this is refused (H2). Milliseconds. */
export const CLOCK_DRIFT_MS_MAX = 60 * SECOND;

/** A shard whose destinations are down refuses pushes past this (PU5): a tenth of a Durable Object's 10 GB. Bytes. */
export const LOG_BYTES_MAX = 1024 * MiB;
/** What a 429 advises. Seconds. */
export const RETRY_AFTER_SECONDS = 5;

/** A flush is asked for when the log holds this much, or its oldest delta is this old (F4). */
export const FLUSH_BYTES = 16 * MiB;
export const FLUSH_DELTAS = 50_000;
export const FLUSH_AGE_MS = 30 * SECOND;
/** A consumer that says nothing for this long has died; Queues give a consumer 15 minutes. Milliseconds. */
export const FLUSH_LEASE_MS = 120 * SECOND;
/** Attempts that fail without hope of success before a batch is set aside (F3). */
export const FLUSH_ATTEMPTS_MAX = 5;
/**
 * A flush that somebody has to help (a wrong password, a full disk) is tried again after this, then after twice as long, and so on up to
 * the other: a server locks out who comes too often with a wrong password. Milliseconds.
 */
export const FLUSH_REST_MS = 30 * SECOND;
export const FLUSH_REST_MAX_MS = 600 * SECOND;
/** What a backend is handed at once when it catches up with another: a data file's worth. Edits; characters of their values. */
export const REPLAY_EDITS = 25_000;
export const REPLAY_CHARS = 12 * MiB;
/** Edits or rows that are asked of a backend in one query while it is read for another. */
export const REPLAY_PAGE = 5_000;
/** What is read at once of the edits that others made in a database, and pushed as one: edits; characters of their cells. */
export const FOREIGN_EDITS = 1_000;
export const FOREIGN_CHARS = 4 * MiB;
/** Rows that move from one tier to the other at once: they are held in memory, and asked for by id. */
export const TIER_ROWS = 1_000;
/** Peak memory of a Parquet writer is 62-118 MB for 50k rows (docs/decisions): 25k keeps a flush below 128 MB. Rows. */
export const DATA_FILE_ROWS = 25_000;
/** The same for wide rows: the writer holds a file's columns about three times. Bytes before compression. */
export const DATA_FILE_BYTES = 12 * MiB;
/** A flush that finds more small manifests than this merges them: each is a request for whoever plans a scan. */
export const MANIFESTS_MAX = 50;
/** Manifests of this size are not merged again. Bytes; some 10,000 files. */
export const MANIFEST_BYTES = 2 * MiB;
/** Files whose keys a flush reads at once to find old rows; a Worker has six connections. */
export const LOOKUP_CONCURRENCY = 4;

/** A compacted file of this size is left alone until many of its rows are gone. Rows, and bytes of the file. */
export const COMPACT_TARGET_ROWS = 200_000;
export const COMPACT_TARGET_BYTES = 64 * MiB;
/** So many files of one size are merged into one of the next: fewer rewrite rows more often, more leave more files. */
export const COMPACT_INPUTS_MIN = 8;
/** A large file is rewritten when this part of its rows is gone. */
export const COMPACT_DELETE_RATIO = 0.2;
/** Large files that may hold the same row id, at most: each is read by whoever looks for one row. */
export const COMPACT_DEPTH_MAX = 4;
/** What one job rewrites: some ten seconds of a Worker's 30 of CPU. Rows, and bytes of the files. */
export const COMPACT_JOB_ROWS = 1_000_000;
export const COMPACT_JOB_BYTES = 256 * MiB;
/** Row groups that a merge holds at once, decoded, beside one that it writes. Bytes, by a rough guess. */
export const COMPACT_OPEN_BYTES = 52 * MiB;
/** A row group that compaction writes; the next merge holds several such. Bytes before compression. */
export const COMPACT_GROUP_BYTES = 4 * MiB;
/** Position delete files are merged past this number; every reader reads all of them. */
export const DELETE_FILES_MAX = 8;
/** Positions that are merged at once, held in memory. */
export const DELETES_MERGED_MAX = 250_000;
/** Snapshots that expiry leaves, whatever their age, and how long it leaves the others. Milliseconds. */
export const SNAPSHOTS_MIN = 10;
export const SNAPSHOT_AGE_MS = 24 * 3600 * SECOND;
/** How long a file is left that no snapshot needs any more: queries that began before go on. Milliseconds. */
export const GRACE_MS = 3600 * SECOND;
/** A file that nobody knows is somebody's commit in flight until it is this old; Spark's jobs take hours. Milliseconds. */
export const ORPHAN_AGE_MS = 3 * 24 * 3600 * SECOND;
/** Files that one run marks or deletes at most; the rest has time until the next. */
export const GARBAGE_MAX = 20_000;
/** Flushes of a table after which it is maintained at once: as many small files as compaction merges. */
export const MAINTENANCE_FLUSHES = 8;
/** With fewer flushes a table waits this long. Milliseconds. */
export const MAINTENANCE_EVERY_MS = 3600 * SECOND;
/** A secondary that could not catch up is tried again by a flush or by Cron, which comes every five minutes. Milliseconds. */
export const FOLLOW_AGAIN_MS = 4 * 60 * SECOND;
/** A run of a secondary's catching up, or of a move between tiers; what is left over is the next one's. Milliseconds. */
export const BACKENDS_RUN_MS = 60 * SECOND;
/** Expiry reads the manifests of all snapshots that stay, orphan removal lists all files. Milliseconds. */
export const EXPIRE_EVERY_MS = 6 * 3600 * SECOND;
export const ORPHANS_EVERY_MS = 24 * 3600 * SECOND;
/** Queues give a consumer 15 minutes; a run that says nothing for longer has died. Milliseconds. */
export const MAINTENANCE_LEASE_MS = 15 * 60 * SECOND;
/** Gateways that one Cron event looks at; a Worker has 10,000 subrequests, and Cron comes every five minutes. */
export const GATEWAYS_PER_CRON = 2_000;
/** A chunk of a checkpoint is one transaction on a device, held in memory there. Characters of stored rows. */
export const CHUNK_CHARS = 2 * MiB;
/** What one run of a checkpoint reads, some ten seconds of a Worker's 30 of CPU; the rest is for the next. Rows. */
export const CHECKPOINT_JOB_ROWS = 750_000;
/** Edits of the history that a rebuild reads at once: their keys and the rows themselves are in memory. */
export const REBUILD_EDITS = 5000;
/** Rows and edits that one call of a rebuild goes through: some seconds of a Worker. */
export const REBUILD_JOB_ROWS = 200_000;
/** Ids of rows that a checkpoint's index holds in memory before they are written. Characters. */
export const INDEX_RUN_CHARS = 4 * MiB;
/** A shard's checkpoint is made anew after so many changes, or this part of its rows, or this long after any change. */
export const CHECKPOINT_CHANGES = 10_000;
export const CHECKPOINT_CHANGED_RATIO = 0.05;
export const CHECKPOINT_AGE_MS = 24 * 3600 * SECOND;
/** With less ever changed a device pulls everything in a page or two. Changes. */
export const CHECKPOINT_HEAD_MIN = 5_000;
/** How long a checkpoint is kept after the next: a download that began goes on. Milliseconds. */
export const CHECKPOINT_GRACE_MS = 24 * 3600 * SECOND;
/** Objects of a checkpoint that was never finished belong to a run under way until this old. Milliseconds. */
export const CHECKPOINT_DRAFT_MS = 3600 * SECOND;
/** A page of a flush crosses RPC as one message (32 MiB). Bytes. */
export const FLUSH_PAGE_BYTES = 4 * MiB;

/** Change lists let a client catch up without a scan; a client further behind starts over. Deltas and milliseconds. */
export const CHANGE_LIST_DELTAS = 1_000_000;
export const CHANGE_LIST_MS = 7 * 24 * 3600 * SECOND;
/** Tombstones are needed until no device can hold an older edit of the row. Milliseconds. */
export const TOMBSTONE_MS = 30 * 24 * 3600 * SECOND;

/** A device that was away for longer than a hot window starts over: with less than a second none would ever be current. */
export const HOT_AGE_MS_MIN = 1 * SECOND;
/** So that a moment minus the age is still a date. Milliseconds; a hundred years. */
export const HOT_AGE_MS_MAX = 100 * 365 * 24 * 3600 * SECOND;
/** Rows leave a shard once so many edits have become older than its window: with fewer there would be many small files. */
export const HOT_LEAVE_EDITS = 20_000;
/** Rows that leave together: their ids and filter cross RPC as one message, and the filter is one SQLite value. */
export const HOT_RUN_ROWS = 50_000;
/** Rows that left lie in chunks of this size: one late edit reads one. Characters of stored rows; some 1,500 rows. */
export const HOT_CHUNK_CHARS = 256 * KiB;
/** Runs behind each other that are merged, since each has a filter that is asked for each new id; and how large they become: the filter
 * is one SQLite value of three bytes a row. */
export const HOT_MERGE_RUNS = 8;
export const HOT_MERGED_ROWS = 200_000;
/** Rows that one merge reads: its filters cross RPC as one message. */
export const HOT_MERGE_ROWS = 1_000_000;
/** What a merge took the place of is read for so long by whoever was told of it. Milliseconds. */
export const HOT_GRACE_MS = 24 * 3600 * SECOND;
/** Files of a run that nobody knows belong to one that is being written until this old. Milliseconds. */
export const HOT_ORPHAN_AGE_MS = 3600 * SECOND;
/** Chunks that one push reads, at some 10 ms each; one that needs more comes again and goes on. */
export const HOT_CHUNKS_PER_PUSH = 64;

/** Hibernating sockets of one hub; Durable Objects take 32,768, memory is the bound. */
export const SOCKETS_PER_HUB_MAX = 10_000;
/** A push that is acknowledged brings pages for devices that see alike; each costs its shard another look. Groups of them. */
export const FOLLOWED_GROUPS_MAX = 16;
/** More edits at once are pulled: a shard does not read for others what took it long to write. */
export const FOLLOWED_EDITS_MAX = 100;
/** Pages that a device has got unasked since it last pulled: one that does not keep up is not sent more of them. Bytes. */
export const FOLLOWED_BYTES_MAX = 64 * KiB;
/** Pokes to one hub are merged for this long under load. Milliseconds. */
export const POKE_MERGE_MS = 5;

/**
 * Calls of one user to one shard: a shard is one thread, and a call costs it about a millisecond. A device that pushes and
 * pulls as fast as it can makes some tens a second.
 */
export const CALLS_PER_SECOND = 200;
export const CALL_BURST = 1000;
/** Users whose rate one shard remembers. */
export const RATED_USERS_MAX = 10_000;
