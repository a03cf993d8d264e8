/** The embedded catalogue over node:sqlite and an object store in memory. */
import { beforeEach, describe, expect, test } from "vitest";
import type { CreateTable, TableIdent, TableUpdate } from "../../core/index.ts";
import { catalogueContract, NodeSqlStore } from "../../core/testing.ts";
import { type LakeSyncError, type Result, unwrap } from "../../schemas/index.ts";
import { MemoryStore } from "../store/index.ts";
import { EmbeddedCatalogue, type FaultPoint } from "./embedded.ts";
import { icebergTypeOf } from "./errors.ts";
import { catalogueOf } from "./server.ts";

let serial = 0;
const newId = () => `00000000-0000-4000-8000-${String(++serial).padStart(12, "0")}`;
let nowMs = 1_700_000_000_000;
const clock = { now: () => ++nowMs };
const newStore = () => new MemoryStore({ location: "s3://lake", clock });

function open(store = newStore(), sql = new NodeSqlStore(), fault?: (point: FaultPoint) => Promise<void>) {
  return new EmbeddedCatalogue({ sql, store, gatewayId: "demo", clock, newId, ...(fault && { fault }) });
}

catalogueContract("embedded", async () => ({ catalogue: catalogueOf(open()), namespace: ["shop"] }));

const definition: CreateTable = {
  schema: { type: "struct", "schema-id": 0, fields: [{ id: 1, name: "id", required: true, type: "string" }] },
};
const table = (name: string, ...namespace: string[]): TableIdent => ({
  namespace: namespace.length ? namespace : ["shop"],
  name,
});
const typeOf = (result: Result<unknown, LakeSyncError>) => (result.ok ? "ok" : icebergTypeOf(result.error));
const property = (key: string, value = "1"): TableUpdate => ({ action: "set-properties", updates: { [key]: value } });
/** Keys in order, those that hold `part`. */
const keysOf = async (store: MemoryStore, part = "") =>
  unwrap(await store.list(""))
    .objects.map(({ key }) => key)
    .filter((key) => key.includes(part));

describe("namespaces", () => {
  test("[L1] parents come with children; listing shows one level, page by page", async () => {
    const catalogue = open();
    for (const namespace of [["a", "b", "c"], ["a-x"], ["a", "d"], ["z"]]) {
      unwrap(await catalogue.createNamespace(namespace, {}));
    }
    expect(unwrap(await catalogue.listNamespaces(null, {})).items).toEqual([["a"], ["a-x"], ["z"]]);
    expect(unwrap(await catalogue.listNamespaces(["a"], {})).items).toEqual([
      ["a", "b"],
      ["a", "d"],
    ]);
    const first = unwrap(await catalogue.listNamespaces(null, { token: "", size: 2 }));
    expect(first).toEqual({ items: [["a"], ["a-x"]], next: "a-x" });
    expect(unwrap(await catalogue.listNamespaces(null, { token: "a-x", size: 2 }))).toEqual({
      items: [["z"]],
      next: null,
    });
    const below = unwrap(await catalogue.listNamespaces(["a"], { token: "", size: 1 }));
    expect(unwrap(await catalogue.listNamespaces(["a"], { token: below.next ?? "", size: 1 })).items).toEqual([
      ["a", "d"],
    ]);
    expect(typeOf(await catalogue.listNamespaces(["q"], {}))).toBe("NoSuchNamespaceException");
    expect(typeOf(await catalogue.createNamespace(["a", "b"], {}))).toBe("AlreadyExistsException");
  });

  test("[L1] properties are set, removed and counted; a key in both lists is refused", async () => {
    const catalogue = open();
    unwrap(await catalogue.createNamespace(["a"], { owner: "x", old: "1" }));
    expect(
      unwrap(await catalogue.updateNamespace(["a"], { removals: ["old", "none"], updates: { owner: "y" } })),
    ).toEqual({
      updated: ["owner"],
      removed: ["old"],
      missing: ["none"],
    });
    expect(unwrap(await catalogue.loadNamespace(["a"]))).toEqual({ owner: "y" });
    const both = await catalogue.updateNamespace(["a"], { removals: ["owner"], updates: { owner: "z" } });
    expect(typeOf(both)).toBe("UnprocessableEntityException");
    expect(typeOf(await catalogue.updateNamespace(["b"], { removals: [], updates: {} }))).toBe(
      "NoSuchNamespaceException",
    );
  });

  test("[L1] only an empty one can be dropped", async () => {
    const catalogue = open();
    unwrap(await catalogue.createNamespace(["a", "b"], {}));
    unwrap(await catalogue.createTable(table("t", "a", "b"), definition));
    expect(typeOf(await catalogue.dropNamespace(["a"]))).toBe("NamespaceNotEmptyException");
    expect(typeOf(await catalogue.dropNamespace(["a", "b"]))).toBe("NamespaceNotEmptyException");
    unwrap(await catalogue.dropTable(table("t", "a", "b"), false));
    unwrap(await catalogue.dropNamespace(["a", "b"]));
    unwrap(await catalogue.dropNamespace(["a"]));
    expect(typeOf(await catalogue.dropNamespace(["a"]))).toBe("NoSuchNamespaceException");
  });

  test.each([
    ["a/b"],
    [".."],
    [""],
    ["a b"],
    ["a\u001fb"],
    ["'; DROP TABLE tables; --"],
    ["x".repeat(97)],
    ["-a"],
    ["é"],
  ])("[S3] %j names neither a namespace nor a table", async (name) => {
    const catalogue = open();
    unwrap(await catalogue.createNamespace(["shop"], {}));
    expect(typeOf(await catalogue.createNamespace([name], {}))).toBe("BadRequestException");
    expect(typeOf(await catalogue.createTable(table(name), definition))).toBe("BadRequestException");
    unwrap(await catalogue.createTable(table("t"), definition));
    expect(typeOf(await catalogue.renameTable(table("t"), table(name)))).toBe("BadRequestException");
  });
});

describe("tables", () => {
  let store: MemoryStore;
  let sql: NodeSqlStore;
  let catalogue: EmbeddedCatalogue;
  beforeEach(async () => {
    store = newStore();
    sql = new NodeSqlStore();
    catalogue = open(store, sql);
    unwrap(await catalogue.createNamespace(["shop"], {}));
  });

  test("[L1] each version is a new file in the table's metadata folder, numbered from 0", async () => {
    const made = unwrap(await catalogue.createTable(table("t"), definition));
    const names = [made.metadataLocation];
    for (let i = 0; i < 3; i += 1) {
      const [next] = unwrap(
        await catalogue.commit([{ ident: table("t"), requirements: [], updates: [property("k", `${i}`)] }]),
      );
      names.push(next?.metadataLocation ?? "");
    }
    for (const [version, name] of names.entries()) {
      expect(name).toMatch(
        new RegExp(`^s3://lake/demo/shop/t-[0-9a-f]{12}/metadata/0000${version}-[0-9a-f-]{36}\\.metadata\\.json$`),
      );
    }
    expect(await keysOf(store)).toEqual(names.map((name) => name.slice("s3://lake/".length)));
    const last = unwrap(await open(store, sql).loadTable(table("t")));
    expect(last.metadata["metadata-log"]?.map((entry) => entry["metadata-file"])).toEqual(names.slice(0, 3));
  });

  test("[L1] drop and create never mix files; purge takes exactly the table's own", async () => {
    const first = unwrap(await catalogue.createTable(table("t"), definition));
    unwrap(await catalogue.createTable(table("t2"), definition));
    unwrap(await catalogue.dropTable(table("t"), false));
    const second = unwrap(await catalogue.createTable(table("t"), definition));
    expect(second.metadata.location).not.toBe(first.metadata.location);
    await store.put(`${second.metadata.location.slice(10)}/data/1.parquet`, new Uint8Array(1));
    unwrap(await catalogue.dropTable(table("t"), true));
    expect(await keysOf(store, "/t-")).toEqual([first.metadataLocation.slice(10)]);
    expect(await keysOf(store, "/t2-")).toHaveLength(1);
  });

  test("[L1] a table that a drop left behind is registered again, and commits go on", async () => {
    unwrap(await catalogue.createTable(table("t"), definition));
    const [last] = unwrap(await catalogue.commit([{ ident: table("t"), requirements: [], updates: [property("k")] }]));
    unwrap(await catalogue.dropTable(table("t"), false));
    const at = last?.metadataLocation ?? "";
    const back = unwrap(await catalogue.registerTable(table("u"), at, false));
    expect(back).toEqual(last);
    const [next] = unwrap(await catalogue.commit([{ ident: table("u"), requirements: [], updates: [property("l")] }]));
    expect(next?.metadataLocation).toMatch(/\/00002-/);
    expect(typeOf(await catalogue.registerTable(table("u"), at, false))).toBe("AlreadyExistsException");
    expect(typeOf(await catalogue.registerTable(table("v"), at, false))).toBe("AlreadyExistsException");
    expect(unwrap(await catalogue.registerTable(table("u"), at, true)).metadata.properties).toEqual({ k: "1" });
    expect(typeOf(await catalogue.registerTable(table("w"), `${at}x`, false))).toBe("BadRequestException");
  });

  test("[L1] a rename keeps files and history; a taken name or a missing namespace is refused", async () => {
    const made = unwrap(await catalogue.createTable(table("t"), definition));
    unwrap(await catalogue.createTable(table("taken"), definition));
    unwrap(await catalogue.createNamespace(["other"], {}));
    expect(typeOf(await catalogue.renameTable(table("t"), table("taken")))).toBe("AlreadyExistsException");
    expect(typeOf(await catalogue.renameTable(table("t"), table("t", "nowhere")))).toBe("NoSuchNamespaceException");
    expect(typeOf(await catalogue.renameTable(table("none"), table("n")))).toBe("NoSuchTableException");
    unwrap(await catalogue.renameTable(table("t"), table("u", "other")));
    expect(unwrap(await catalogue.loadTable(table("u", "other")))).toEqual(made);
    expect(typeOf(await catalogue.tableExists(table("t")))).toBe("NoSuchTableException");
    expect(unwrap(await catalogue.listTables(["shop"], {})).items).toEqual([table("taken")]);
  });

  test("[L1] a staged table exists only once its commit lands", async () => {
    const staged = unwrap(await catalogue.stageTable(table("t"), definition));
    expect(await keysOf(store)).toEqual([]);
    expect(typeOf(await catalogue.loadTable(table("t")))).toBe("NoSuchTableException");
    const updates: TableUpdate[] = [
      { action: "assign-uuid", uuid: staged["table-uuid"] },
      { action: "add-schema", schema: staged.schemas[0] },
      { action: "set-current-schema", "schema-id": -1 },
      { action: "add-spec", spec: staged["partition-specs"][0] },
      { action: "set-default-spec", "spec-id": -1 },
      { action: "add-sort-order", "sort-order": staged["sort-orders"][0] },
      { action: "set-default-sort-order", "sort-order-id": -1 },
      { action: "set-location", location: staged.location },
    ];
    const change = { ident: table("t"), requirements: [{ type: "assert-create" }], updates };
    const [made] = unwrap(await catalogue.commit([change]));
    expect(made?.metadata["table-uuid"]).toBe(staged["table-uuid"]);
    expect(typeOf(await catalogue.commit([change]))).toBe("CommitFailedException");
  });

  test("old metadata files go when the table asks for it, and stay otherwise", async () => {
    const keep = { "write.metadata.previous-versions-max": "2" };
    unwrap(await catalogue.createTable(table("t"), { ...definition, properties: keep }));
    unwrap(
      await catalogue.createTable(table("u"), {
        ...definition,
        properties: { ...keep, "write.metadata.delete-after-commit.enabled": "true" },
      }),
    );
    for (let i = 0; i < 6; i += 1) {
      for (const name of ["t", "u"]) {
        unwrap(await catalogue.commit([{ ident: table(name), requirements: [], updates: [property("k", `${i}`)] }]));
      }
    }
    expect(await keysOf(store, "/t-")).toHaveLength(7);
    expect((await keysOf(store, "/u-")).map((key) => key.match(/\/(\d+)-/)?.[1])).toEqual(["00004", "00005", "00006"]);
    unwrap(await open(store, sql).loadTable(table("u")));
  });

  test("a registered table whose log names other files takes none of them with it", async () => {
    unwrap(await catalogue.createTable(table("victim"), definition));
    const victim = unwrap(await catalogue.loadTable(table("victim")));
    const here = "s3://lake/demo/x/evil";
    const asks = { "write.metadata.previous-versions-max": "1", "write.metadata.delete-after-commit.enabled": "true" };
    const entry = (file: string) => ({ "metadata-file": file, "timestamp-ms": 1 });
    const round = victim.metadataLocation.replace("s3://lake/", `${here}/metadata/../../../../`);
    const log = [entry(victim.metadataLocation), entry(round)];
    const evil = { ...victim.metadata, location: here, properties: asks, "metadata-log": log };
    await store.put("demo/x/evil/metadata/0.metadata.json", new TextEncoder().encode(JSON.stringify(evil)));
    unwrap(await catalogue.registerTable(table("evil"), `${here}/metadata/0.metadata.json`, false));
    const deleted: string[] = [];
    const watched = Object.assign(Object.create(store), {
      location: store.location,
      get: store.get.bind(store),
      put: store.put.bind(store),
      delete: async (keys: string[]) => {
        deleted.push(...keys);
        return store.delete(keys);
      },
    });
    unwrap(await open(watched, sql).commit([{ ident: table("evil"), requirements: [], updates: [property("k")] }]));
    expect(deleted).toEqual([]);
    unwrap(await open(store, sql).loadTable(table("victim")));
  });

  test.each([
    ["another tenant's folder", "s3://lake/other/shop/t"],
    ["a way up", "s3://lake/demo/shop/../../other/t"],
    ["another bucket", "s3://elsewhere/demo/shop/t"],
    ["the gateway's root", "s3://lake/demo"],
    ["a whole namespace", "s3://lake/demo/shop"],
    ["a prefix that is no folder", "s3://lake/demo-2/shop/t"],
    ["an encoded way up", "s3://lake/demo/shop/%2e%2e/t"],
  ])("[S1] no table lies in %s, by creation, move or registration", async (_what, location) => {
    expect(typeOf(await catalogue.createTable(table("t"), { ...definition, location }))).toBe("ForbiddenException");
    expect(typeOf(await catalogue.stageTable(table("t"), { ...definition, location }))).toBe("ForbiddenException");
    unwrap(await catalogue.createTable(table("t"), definition));
    const move = { ident: table("t"), requirements: [], updates: [{ action: "set-location", location }] };
    expect(typeOf(await catalogue.commit([move]))).toBe("ForbiddenException");
    const foreign = unwrap(await catalogue.loadTable(table("t"))).metadata;
    const body = new TextEncoder().encode(JSON.stringify({ ...foreign, location }));
    await store.put("other/x/metadata/00000-a.metadata.json", body);
    const there = "s3://lake/other/x/metadata/00000-a.metadata.json";
    expect(typeOf(await catalogue.registerTable(table("r"), there, false))).toBe("ForbiddenException");
    await store.put("demo/x/metadata/00000-a.metadata.json", body);
    const here = "s3://lake/demo/x/metadata/00000-a.metadata.json";
    expect(typeOf(await catalogue.registerTable(table("r"), here, false))).toBe("ForbiddenException");
  });

  test("a location inside another table's is refused: purging one would take the other", async () => {
    const outer = "s3://lake/demo/files/outer";
    unwrap(await catalogue.createTable(table("outer"), { ...definition, location: `${outer}/` }));
    for (const location of [outer, `${outer}/inner`]) {
      expect(typeOf(await catalogue.createTable(table("t"), { ...definition, location }))).toBe(
        "AlreadyExistsException",
      );
    }
    unwrap(await catalogue.createTable(table("deep"), { ...definition, location: "s3://lake/demo/deep/down/here" }));
    const around = { ...definition, location: "s3://lake/demo/deep/down" };
    expect(typeOf(await catalogue.createTable(table("t"), around))).toBe("AlreadyExistsException");
    unwrap(await catalogue.dropTable(table("deep"), true));
    unwrap(await catalogue.createTable(table("near"), { ...definition, location: `${outer}-2` }));
    unwrap(await catalogue.dropTable(table("outer"), true));
    expect(await keysOf(store)).toHaveLength(1);
  });

  test("[L2] a transaction over two tables lands whole or not at all", async () => {
    const a = unwrap(await catalogue.createTable(table("a"), definition));
    const b = unwrap(await catalogue.createTable(table("b"), definition));
    const good = { ident: table("a"), requirements: [], updates: [property("k")] };
    const stale = {
      ident: table("b"),
      requirements: [{ type: "assert-current-schema-id", "current-schema-id": 9 }],
      updates: [],
    };
    expect(typeOf(await catalogue.commit([good, stale]))).toBe("CommitFailedException");
    expect(typeOf(await catalogue.commit([good, good]))).toBe("BadRequestException");
    expect(typeOf(await catalogue.commit([good, { ...good, ident: table("none") }]))).toBe("NoSuchTableException");
    expect(unwrap(await catalogue.loadTable(table("a")))).toEqual(a);
    expect(unwrap(await catalogue.loadTable(table("b")))).toEqual(b);
    const both = unwrap(await catalogue.commit([good, { ...good, ident: table("b") }]));
    expect(both.map(({ metadata }) => metadata.properties)).toEqual([{ k: "1" }, { k: "1" }]);
  });
});

describe("faults", () => {
  const killed = new Error("killed");
  /** A catalogue that dies, or does something else first, when it comes to a point. */
  async function at(point: FaultPoint, event: () => Promise<void>) {
    const store = newStore();
    const sql = new NodeSqlStore();
    let armed = false;
    const catalogue = open(store, sql, async (reached) => {
      if (!armed || reached !== point) return;
      armed = false;
      await event();
    });
    const rival = open(store, sql);
    unwrap(await rival.createNamespace(["shop"], {}));
    unwrap(await rival.createTable(table("t"), definition));
    unwrap(await rival.createTable(table("u"), definition));
    const arm = () => {
      armed = true;
    };
    return { store, sql, catalogue, rival, arm };
  }
  const change = (name: string, key: string, requirements: { type: string }[] = []) => ({
    ident: table(name),
    requirements,
    updates: [property(key)],
  });

  test("[L2] killed after the metadata file: the table is as before, and the next commit writes another file", async () => {
    const { store, catalogue, rival, arm } = await at("catalogue: after metadata files, before pointers", async () => {
      throw killed;
    });
    const before = unwrap(await rival.loadTable(table("t")));
    arm();
    await expect(catalogue.commit([change("t", "k")])).rejects.toBe(killed);
    expect(unwrap(await rival.loadTable(table("t")))).toEqual(before);
    expect(await keysOf(store, "/00001-")).toHaveLength(1);
    const [landed] = unwrap(await rival.commit([change("t", "k")]));
    expect(await keysOf(store, "/00001-")).toHaveLength(2);
    expect(unwrap(await rival.loadTable(table("t")))).toEqual(landed);
  });

  test("[L2] killed after the pointer: the commit is there for whoever looks it up", async () => {
    const { catalogue, rival, arm } = await at("catalogue: after pointers, before answer", async () => {
      throw killed;
    });
    arm();
    await expect(catalogue.commit([change("t", "k")])).rejects.toBe(killed);
    expect(unwrap(await rival.loadTable(table("t"))).metadata.properties).toEqual({ k: "1" });
  });

  test("[L2] overtaken between file and pointer: what still holds lands on the new base, and no file is overwritten", async () => {
    const { store, catalogue, rival, arm } = await at("catalogue: after metadata files, before pointers", async () => {
      unwrap(await rival.commit([change("t", "rival")]));
    });
    arm();
    const [landed] = unwrap(await catalogue.commit([change("t", "own")]));
    expect(landed?.metadata.properties).toEqual({ rival: "1", own: "1" });
    expect(landed?.metadataLocation).toMatch(/\/00002-/);
    expect((await keysOf(store, "/t-")).map((key) => key.match(/\/(\d+)-/)?.[1])).toEqual(["00000", "00001", "00002"]);
  });

  test("[L2] overtaken in one table of two: neither pointer moved in between, both land together after", async () => {
    let seen: unknown;
    const { catalogue, rival, arm } = await at("catalogue: after metadata files, before pointers", async () => {
      unwrap(await rival.commit([change("u", "rival")]));
      seen = unwrap(await rival.loadTable(table("t"))).metadata.properties;
    });
    arm();
    const assert = { type: "assert-current-schema-id", "current-schema-id": 0 };
    unwrap(await catalogue.commit([change("t", "own", [assert]), change("u", "own", [assert])]));
    expect(seen).toEqual({});
    expect(unwrap(await rival.loadTable(table("u"))).metadata.properties).toEqual({ rival: "1", own: "1" });
  });

  test("[L2] dropped meanwhile: the commit finds no table; created meanwhile: the create conflicts and leaves no file", async () => {
    const point = "catalogue: after metadata files, before pointers";
    const dropped = await at(point, async () => {
      unwrap(await dropped.rival.dropTable(table("t"), false));
    });
    dropped.arm();
    expect(typeOf(await dropped.catalogue.commit([change("t", "k")]))).toBe("NoSuchTableException");
    const created = await at(point, async () => {
      unwrap(await created.rival.createTable(table("v"), definition));
    });
    created.arm();
    expect(typeOf(await created.catalogue.createTable(table("v"), definition))).toBe("AlreadyExistsException");
    expect(await keysOf(created.store, "/v-")).toHaveLength(1);
  });

  test("[L2] the namespace dropped meanwhile: the create finds none, and no table stays behind without one", async () => {
    const dropped = await at("catalogue: after metadata files, before pointers", async () => {
      unwrap(await dropped.rival.dropNamespace(["brief"]));
    });
    unwrap(await dropped.rival.createNamespace(["brief"], {}));
    dropped.arm();
    const made = await dropped.catalogue.createTable(table("t", "brief"), definition);
    expect(typeOf(made)).toBe("NoSuchNamespaceException");
    expect(typeOf(await dropped.rival.tableExists(table("t", "brief")))).toBe("NoSuchTableException");
  });

  test("[L2] a metadata file that is there is never written over, even when ids repeat", async () => {
    const { store, sql, rival, arm, catalogue } = await at("catalogue: after pointers, before answer", async () => {});
    arm();
    const [landed] = unwrap(await catalogue.commit([change("t", "first")]));
    const same = landed?.metadataLocation.match(/00001-(.{36})/)?.[1] ?? "";
    sql.exec("UPDATE tables SET version = 0 WHERE name = 't'");
    const repeating = new EmbeddedCatalogue({ sql, store, gatewayId: "demo", clock, newId: () => same });
    expect(await repeating.commit([change("t", "second")])).toMatchObject({ ok: false, error: { code: "Conflict" } });
    expect(unwrap(await open(store, sql).loadTable(table("t"))).metadata.properties).toEqual({ first: "1" });
    expect(unwrap(await rival.loadTable(table("t")))).toEqual(landed);
  });

  test("[L2] a store that refuses the metadata file leaves every pointer where it was", async () => {
    const { store, sql, rival } = await at("catalogue: after pointers, before answer", async () => {});
    const before = unwrap(await rival.loadTable(table("t")));
    const failing = new Proxy(store, {
      get: (target, key) =>
        key === "put"
          ? async () => ({ ok: false, error: Object.assign(new Error("down"), { code: "DestinationUnavailable" }) })
          : (Reflect.get(target, key).bind?.(target) ?? Reflect.get(target, key)),
    });
    const result = await open(failing, sql).commit([change("t", "k")]);
    expect(result).toMatchObject({ ok: false, error: { code: "DestinationUnavailable" } });
    expect(unwrap(await rival.loadTable(table("t")))).toEqual(before);
  });
});

test("[L2] [F1] a metadata file whose write arrives twice is written; another's file of its name is not taken for it", async () => {
  class Twice extends MemoryStore {
    foreign = false;
    override async put(...[key, body, options]: Parameters<MemoryStore["put"]>): ReturnType<MemoryStore["put"]> {
      if (options?.ifAbsent) await super.put(key, this.foreign ? new Uint8Array(body.length) : body, options);
      return super.put(key, body, options);
    }
  }
  const store = new Twice({ location: "s3://lake", clock });
  const catalogue = open(store);
  unwrap(await catalogue.createNamespace(["shop"], {}));
  const created = unwrap(await catalogue.createTable(table("orders"), definition));
  expect(unwrap(await catalogue.loadTable(table("orders"))).metadata).toEqual(created.metadata);
  store.foreign = true;
  expect(await catalogue.createTable(table("others"), definition)).toMatchObject({ error: { code: "Conflict" } });
});
