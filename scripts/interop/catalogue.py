"""Engines attach to a running catalogue and use it as their users do. Each answers with what it saw."""

import pyarrow as pa
from bridge import run
from readers import duckdb_connection, spark_session

SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("title", pa.string())])


def ids(rows):
    return sorted(row["id"] for row in rows)


def pyiceberg_session(ask):
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import CommitFailedException, NamespaceNotEmptyError, NoSuchTableError, TableAlreadyExistsError
    from pyiceberg.transforms import IdentityTransform
    from pyiceberg.types import LongType, StringType

    catalog = load_catalog("lake", type="rest", uri=ask["uri"], **ask["auth"])
    seen = {}
    catalog.create_namespace("py", {"owner": "pyiceberg"})
    catalog.create_namespace("py.inner")
    catalog.update_namespace_properties("py", removals={"owner"}, updates={"team": "lake"})
    seen["namespaces"] = [list(name) for name in catalog.list_namespaces()]
    seen["children"] = [list(name) for name in catalog.list_namespaces("py")]
    seen["properties"] = catalog.load_namespace_properties("py")

    table = catalog.create_table("py.movies", SCHEMA, properties={"owner": "me"})
    table.append(pa.Table.from_pylist([{"id": 1, "title": "Alien"}, {"id": 2, "title": None}], SCHEMA))
    table.append(pa.Table.from_pylist([{"id": 3, "title": "Brazil"}], SCHEMA))
    seen["appended"] = ids(table.scan().to_arrow().to_pylist())

    rival = catalog.load_table("py.movies")
    with table.update_schema() as update:
        update.add_column("year", LongType())
        update.rename_column("title", "name")
    try:
        with rival.update_schema() as update:
            update.add_column("late", StringType())
        seen["stale schema change"] = "landed"
    except CommitFailedException:
        seen["stale schema change"] = "conflict"
    table.delete("id = 2")
    table.overwrite(pa.Table.from_pylist([{"id": 3, "name": "Brazil", "year": 1985}], table.schema().as_arrow()), "id = 3")
    with table.update_spec() as update:
        update.add_field("year", IdentityTransform())
    table.append(pa.Table.from_pylist([{"id": 4, "name": "Dune", "year": 2021}], table.schema().as_arrow()))
    with table.transaction() as transaction:
        transaction.set_properties(reviewed="yes")
        transaction.remove_properties("owner")
    table.manage_snapshots().create_tag(table.history()[0].snapshot_id, "first").commit()
    table = catalog.load_table("py.movies")
    seen["rows"] = sorted(table.scan().to_arrow().to_pylist(), key=lambda row: row["id"])
    seen["first"] = ids(table.scan(snapshot_id=table.snapshot_by_name("first").snapshot_id).to_arrow().to_pylist())
    seen["table properties"] = table.properties

    try:
        catalog.create_table("py.movies", SCHEMA)
    except TableAlreadyExistsError:
        seen["again"] = "exists"
    try:
        catalog.drop_namespace("py")
    except NamespaceNotEmptyError:
        seen["drop namespace"] = "not empty"

    with catalog.create_table_transaction("py.staged", SCHEMA) as transaction:
        transaction.append(pa.Table.from_pylist([{"id": 9, "title": "Staged"}], SCHEMA))
    seen["staged"] = ids(catalog.load_table("py.staged").scan().to_arrow().to_pylist())

    catalog.rename_table("py.movies", "py.inner.films")
    location = catalog.load_table("py.inner.films").metadata_location
    seen["renamed"] = [catalog.table_exists("py.movies"), catalog.table_exists("py.inner.films")]
    catalog.drop_table("py.inner.films")
    catalog.register_table("py.back", location)
    back = catalog.load_table("py.back")
    back.append(pa.Table.from_pylist([{"id": 5, "name": "Empire", "year": 1980}], back.schema().as_arrow()))
    seen["registered"] = ids(back.scan().to_arrow().to_pylist())
    seen["tables"] = [list(name) for name in catalog.list_tables("py")]
    catalog.purge_table("py.staged")
    try:
        catalog.load_table("py.staged")
    except NoSuchTableError:
        seen["purged"] = "gone"
    catalog.drop_namespace("py.inner")
    return seen


def duckdb_session(ask):
    seen = {}
    with duckdb_connection() as con:
        rows = lambda sql: con.execute(sql).fetchall()
        secret = ", ".join(f"{key} '{value}'" for key, value in ask["auth"].items())
        con.execute(f"CREATE SECRET lake (TYPE iceberg, {secret})")
        con.execute(f"ATTACH 'demo' AS lake (TYPE iceberg, ENDPOINT '{ask['uri']}', SECRET lake)")
        seen["tables"] = [name for (name,) in rows("SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake' ORDER BY 1")]
        seen["read"] = [list(row) for row in rows("SELECT id, name, year FROM lake.py.back ORDER BY id")]
        con.execute("CREATE SCHEMA lake.duck")
        con.execute("CREATE TABLE lake.duck.t (id BIGINT, name VARCHAR)")
        con.execute("INSERT INTO lake.duck.t VALUES (1, 'a'), (2, 'b')")
        con.execute("BEGIN")
        con.execute("INSERT INTO lake.duck.t VALUES (3, 'c')")
        con.execute("COMMIT")
        con.execute("CREATE TABLE lake.duck.copied AS SELECT * FROM lake.duck.t WHERE id > 1")
        con.execute("DELETE FROM lake.duck.t WHERE id = 1")
        con.execute("UPDATE lake.duck.t SET name = 'B' WHERE id = 2")
        seen["rows"] = [list(row) for row in rows("SELECT * FROM lake.duck.t ORDER BY id")]
        seen["copied"] = [list(row) for row in rows("SELECT * FROM lake.duck.copied ORDER BY id")]
        con.execute("DROP TABLE lake.duck.copied")
        seen["left"] = [name for (name,) in rows("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'duck'")]
    return seen


def spark_catalogue_session(ask):
    settings = {"type": "rest", "uri": ask["uri"], "warehouse": "demo", **ask["auth"]}
    conf = {f"spark.sql.catalog.lake.{key}": value for key, value in settings.items()}
    spark = spark_session(**{"spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog", **conf})
    rows = lambda sql: [list(row) for row in spark.sql(sql).collect()]
    seen = {}
    seen["read"] = rows("SELECT id, name, year FROM lake.py.back ORDER BY id")
    spark.sql("CREATE NAMESPACE lake.spark")
    spark.sql("CREATE TABLE lake.spark.t (id BIGINT NOT NULL, name STRING, tags MAP<STRING, INT>) PARTITIONED BY (bucket(4, id))")
    spark.sql("INSERT INTO lake.spark.t VALUES (1, 'a', map('x', 1)), (2, 'b', NULL), (3, 'c', NULL)")
    spark.sql("ALTER TABLE lake.spark.t ADD COLUMN year INT")
    spark.sql("ALTER TABLE lake.spark.t RENAME COLUMN name TO title")
    spark.sql("ALTER TABLE lake.spark.t ALTER COLUMN year TYPE BIGINT")
    spark.sql("MERGE INTO lake.spark.t USING (SELECT 2 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET year = 1999")
    spark.sql("DELETE FROM lake.spark.t WHERE id = 1")
    spark.sql("ALTER TABLE lake.spark.t CREATE TAG kept")
    spark.sql("CALL lake.system.rewrite_data_files(table => 'spark.t', options => map('rewrite-all', 'true'))")
    spark.sql("CALL lake.system.expire_snapshots(table => 'spark.t', older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1)")
    seen["rows"] = rows("SELECT id, title, year FROM lake.spark.t ORDER BY id")
    seen["snapshots"] = len(rows("SELECT * FROM lake.spark.t.snapshots"))
    spark.sql("CREATE OR REPLACE TABLE lake.spark.t USING iceberg AS SELECT 7 AS id")
    seen["replaced"] = rows("SELECT * FROM lake.spark.t")
    spark.sql("ALTER TABLE lake.spark.t RENAME TO spark.u")
    seen["tables"] = [name for _namespace, name, _temporary in rows("SHOW TABLES IN lake.spark")]
    spark.sql("DROP TABLE lake.spark.u PURGE")
    spark.sql("DROP NAMESPACE lake.spark")
    seen["namespaces"] = [name for (name,) in rows("SHOW NAMESPACES IN lake")]
    return seen


SESSIONS = {"pyiceberg": pyiceberg_session, "duckdb": duckdb_session, "spark": spark_catalogue_session}

if __name__ == "__main__":
    run(lambda ask: SESSIONS[ask["engine"]](ask))
