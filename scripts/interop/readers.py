"""Reads one Iceberg table with each of three engines. All take the path of a metadata.json and answer with rows as dicts.

Run as a script, it takes a list of {engine, metadata, snapshotId?} and answers with a list of their rows.

A test imports what it needs from here, or writes a script of its own beside it:

    from bridge import run
    from readers import READERS
"""

import os
import pathlib

SPARK_RUNTIME = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0"
# Amazon's client, for files that are reached by S3.
SPARK_AWS = "org.apache.iceberg:iceberg-aws-bundle:1.12.0"


def pyiceberg_rows(metadata, snapshot_id=None):
    from pyiceberg.table import StaticTable

    table = StaticTable.from_metadata(metadata)
    return table.scan(snapshot_id=snapshot_id).to_arrow().to_pylist()


def duckdb_connection():
    """A DuckDB with avro, iceberg and httpfs loaded from the package that carries them, and with no way to fetch more."""
    import duckdb
    import duckdb_ext

    con = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    con.execute("SET TimeZone = 'UTC'")
    carried = pathlib.Path(duckdb_ext.__path__[0]) / "extensions"
    for name in ("avro", "httpfs", "iceberg"):
        (file,) = carried.glob(f"v{duckdb.__version__}/*/{name}.duckdb_extension")
        con.execute(f"LOAD '{file}'")
    return con


def duckdb_rows(metadata, snapshot_id=None):
    at = "" if snapshot_id is None else f", snapshot_from_id = {snapshot_id}::UBIGINT"
    with duckdb_connection() as con:
        cursor = con.execute(f"SELECT * FROM iceberg_scan(?{at})", [metadata])
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def spark_session(**settings):
    """A Spark of one thread with Iceberg. The jar comes through Spark's own resolver and stays in the cache."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[1]").appName("interop")
    defaults = {
        "spark.jars.packages": SPARK_RUNTIME,
        "spark.jars.ivy": os.environ["INTEROP_IVY"],
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.driver.memory": "1g",
        # Sessions of seconds: what the second compiler and a parallel collector cost, they never earn back.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
    }
    for key, value in {**defaults, **settings}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def spark_rows(metadata, snapshot_id=None):
    reader = spark_session().read.format("iceberg")
    if snapshot_id is not None:
        reader = reader.option("versionAsOf", snapshot_id)
    # Through Arrow: collect() makes local times of timestamps on the way, and fails at the year 1.
    return reader.load(metadata).toArrow().to_pylist()


READERS = {"pyiceberg": pyiceberg_rows, "duckdb": duckdb_rows, "spark": spark_rows}

if __name__ == "__main__":
    from bridge import run

    def read(ask):
        # Ids are 64 bits wide, so they travel as text.
        snapshot_id = int(ask["snapshotId"]) if "snapshotId" in ask else None
        return READERS[ask["engine"]](ask["metadata"], snapshot_id)

    # Several questions at once, so that Spark starts once.
    run(lambda asks: [read(ask) for ask in asks])
