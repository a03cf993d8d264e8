/** What every `Catalogue` does: the embedded one, and the client of a foreign one. */
import { describe, expect, test } from "vitest";
import { type LakeSyncError, type Result, unwrap } from "../../schemas/index.ts";
import type { Catalogue, CommitOutcome, CreateTable, LoadedTable, TableIdent, TableUpdate } from "../ports/index.ts";

const definition: CreateTable = {
  schema: {
    type: "struct",
    "schema-id": 0,
    fields: [
      { id: 1, name: "id", required: true, type: "string" },
      { id: 2, name: "n", required: false, type: "long" },
    ],
  },
  properties: { owner: "lakesync" },
};

/** Above 2^53, where a double rounds. */
const BIG = 2n ** 62n + 3n;

const codeOf = (result: Result<unknown, LakeSyncError>) => (result.ok ? "ok" : result.error.code);

/** An append as a writer stages it: on the snapshot and sequence number that the loaded table shows. */
function append(table: LoadedTable, id: number | bigint) {
  const { metadata } = table;
  const parent = metadata["current-snapshot-id"] ?? null;
  const snapshot = {
    "snapshot-id": id,
    ...(parent === null ? {} : { "parent-snapshot-id": parent }),
    "sequence-number": metadata["last-sequence-number"] + 1,
    "timestamp-ms": metadata["last-updated-ms"] + 1,
    "manifest-list": `${metadata.location}/metadata/snap-${id}.avro`,
    summary: { operation: "append", "lakesync.seq": "9007199254740993" },
    "schema-id": metadata["current-schema-id"],
  };
  const requirements = [
    { type: "assert-table-uuid", uuid: metadata["table-uuid"] },
    { type: "assert-ref-snapshot-id", ref: "main", "snapshot-id": parent },
  ];
  const updates: TableUpdate[] = [
    { action: "add-snapshot", snapshot },
    { action: "set-snapshot-ref", "ref-name": "main", type: "branch", "snapshot-id": id },
  ];
  return { requirements, updates };
}

/** Runs the suite. `make` gives a catalogue and a namespace of this test alone, without tables. */
export function catalogueContract(
  name: string,
  make: () => Promise<{ readonly catalogue: Catalogue; readonly namespace: readonly string[] }>,
): void {
  describe(`Catalogue: ${name}`, () => {
    async function withTable() {
      const { catalogue, namespace } = await make();
      unwrap(await catalogue.ensureNamespace(namespace));
      const ident: TableIdent = { namespace, name: "orders" };
      const table = unwrap(await catalogue.create(ident, definition));
      const commit = async (base: LoadedTable, id: number | bigint): Promise<CommitOutcome> => {
        const { requirements, updates } = append(base, id);
        return unwrap(await catalogue.commit(ident, requirements, updates));
      };
      return { catalogue, namespace, ident, table, commit };
    }

    test("[L1] a namespace may be ensured again and again; its tables are listed", async () => {
      const { catalogue, namespace, ident } = await withTable();
      unwrap(await catalogue.ensureNamespace(namespace));
      expect(unwrap(await catalogue.listTables(namespace))).toEqual([ident]);
      expect(codeOf(await catalogue.listTables([...namespace, "nowhere"]))).toBe("NotFound");
    });

    test("[L1] a new table has its schema, no snapshot, and loads as it was created", async () => {
      const { catalogue, ident, table } = await withTable();
      expect(table.metadata).toMatchObject({
        "format-version": 2,
        "last-sequence-number": 0,
        "last-column-id": 2,
        properties: { owner: "lakesync" },
      });
      expect(table.metadata["current-snapshot-id"] ?? null).toBeNull();
      expect(unwrap(await catalogue.load(ident))).toEqual(table);
    });

    test("[L1] creating it again is a conflict; loading what is not there is NotFound", async () => {
      const { catalogue, namespace, ident } = await withTable();
      expect(codeOf(await catalogue.create(ident, definition))).toBe("Conflict");
      expect(codeOf(await catalogue.load({ namespace, name: "nothing" }))).toBe("NotFound");
      expect(codeOf(await catalogue.commit({ namespace, name: "nothing" }, [], []))).toBe("NotFound");
    });

    test("[L1] a 64-bit snapshot id comes back as it went in", async () => {
      const { catalogue, ident, table, commit } = await withTable();
      const outcome = await commit(table, BIG);
      expect(outcome.outcome).toBe("landed");
      const { metadata, metadataLocation } = unwrap(await catalogue.load(ident));
      expect(metadata["current-snapshot-id"]).toBe(BIG);
      expect(metadata.snapshots?.[0]).toMatchObject({
        "snapshot-id": BIG,
        summary: { "lakesync.seq": "9007199254740993" },
      });
      expect(metadata.refs?.main?.["snapshot-id"]).toBe(BIG);
      expect(metadataLocation).not.toBe(table.metadataLocation);
      expect(outcome).toMatchObject({ table: { metadataLocation } });
    });

    test("[L2] two commits from the same base: one lands, the other conflicts", async () => {
      const { catalogue, ident, table, commit } = await withTable();
      const outcomes = await Promise.all([commit(table, 11), commit(table, 12)]);
      expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(["conflict", "landed"]);
      const { metadata } = unwrap(await catalogue.load(ident));
      const winner = outcomes[0]?.outcome === "landed" ? 11 : 12;
      expect(metadata.snapshots?.map((snapshot) => snapshot["snapshot-id"])).toEqual([winner]);
    });

    test("[L2] ten writers that restage after each conflict all land, each once", async () => {
      const { catalogue, ident, commit } = await withTable();
      const write = async (id: number) => {
        for (let tries = 0; tries < 40; tries += 1) {
          const { outcome } = await commit(unwrap(await catalogue.load(ident)), id);
          if (outcome === "landed") return;
        }
        throw new Error("gave up");
      };
      const ids = Array.from({ length: 10 }, (_, i) => i + 1);
      await Promise.all(ids.map(write));
      const { metadata } = unwrap(await catalogue.load(ident));
      expect(metadata["last-sequence-number"]).toBe(10);
      expect(metadata.snapshots?.map((s) => Number(s["snapshot-id"])).sort((a, b) => a - b)).toEqual(ids);
      expect(metadata["snapshot-log"]).toHaveLength(10);
    });

    test("[L2] an update that is wrong in itself is an error, no conflict, and changes nothing", async () => {
      const { catalogue, ident, table } = await withTable();
      const unknown = await catalogue.commit(ident, [], [{ action: "make-coffee" }]);
      expect(codeOf(unknown)).toBe("BadRequest");
      expect(unwrap(await catalogue.load(ident))).toEqual(table);
    });

    test("[L4] a schema evolves by commit", async () => {
      const { catalogue, ident, table } = await withTable();
      const fields = [
        ...(table.metadata.schemas[0]?.fields ?? []),
        { id: 3, name: "note", required: false, type: "string" },
      ];
      const outcome = unwrap(
        await catalogue.commit(
          ident,
          [{ type: "assert-current-schema-id", "current-schema-id": table.metadata["current-schema-id"] }],
          [
            { action: "add-schema", schema: { type: "struct", fields }, "last-column-id": 3 },
            { action: "set-current-schema", "schema-id": -1 },
          ],
        ),
      );
      expect(outcome.outcome).toBe("landed");
      const { metadata } = unwrap(await catalogue.load(ident));
      const current = metadata.schemas.find((schema) => schema["schema-id"] === metadata["current-schema-id"]);
      expect(current?.fields.map((field) => field.name)).toEqual(["id", "n", "note"]);
    });

    test("[L1] a dropped table is gone, and one created again under its name is another", async () => {
      const { catalogue, ident, table, commit } = await withTable();
      await commit(table, 5);
      unwrap(await catalogue.drop(ident));
      expect(codeOf(await catalogue.load(ident))).toBe("NotFound");
      expect(codeOf(await catalogue.drop(ident))).toBe("NotFound");
      const again = unwrap(await catalogue.create(ident, definition));
      expect(again.metadata["table-uuid"]).not.toBe(table.metadata["table-uuid"]);
      expect(again.metadata.snapshots ?? []).toEqual([]);
      const stale = await commit(table, 6);
      expect(stale.outcome).toBe("conflict");
      unwrap(await catalogue.drop(ident, { purge: true }));
      expect(codeOf(await catalogue.load(ident))).toBe("NotFound");
    });
  });
}
