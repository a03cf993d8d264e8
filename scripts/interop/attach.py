"""Engines attach to a gateway with its address and a token, and nothing else, and read snapshots of its tables.

The catalogue lends credentials for the files, and says where they are. Answers with the rows of each read.
"""

from bridge import run
from readers import SPARK_AWS, SPARK_RUNTIME, duckdb_connection, spark_session


def pyiceberg_reader(ask):
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("lake", type="rest", uri=ask["uri"], token=ask["token"])
    tables = {}

    def read(name, snapshot_id):
        table = tables.setdefault(name, catalog.load_table(name))
        return table.scan(snapshot_id=snapshot_id).to_arrow().to_pylist()

    return read


def duckdb_reader(ask):
    con = duckdb_connection()
    con.execute(f"CREATE SECRET lake (TYPE iceberg, TOKEN '{ask['token']}')")
    con.execute(f"ATTACH '{ask['warehouse']}' AS lake (TYPE iceberg, ENDPOINT '{ask['uri']}', SECRET lake)")

    def read(name, snapshot_id):
        cursor = con.execute(f"SELECT * FROM lake.{name} AT (VERSION => {snapshot_id})")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]

    return read


def spark_reader(ask):
    settings = {
        "type": "rest",
        "uri": ask["uri"],
        "warehouse": ask["warehouse"],
        "token": ask["token"],
        "header.X-Iceberg-Access-Delegation": "vended-credentials",
    }
    conf = {f"spark.sql.catalog.lake.{key}": value for key, value in settings.items()}
    packages = f"{SPARK_RUNTIME},{SPARK_AWS}"
    catalogue = {"spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog", "spark.jars.packages": packages}
    spark = spark_session(**catalogue, **conf)

    def read(name, snapshot_id):
        return spark.sql(f"SELECT * FROM lake.{name} VERSION AS OF {snapshot_id}").toArrow().to_pylist()

    return read


READERS = {"pyiceberg": pyiceberg_reader, "duckdb": duckdb_reader, "spark": spark_reader}


def read_all(ask):
    read = READERS[ask["engine"]](ask)
    return [read(each["table"], int(each["snapshotId"])) for each in ask["reads"]]


if __name__ == "__main__":
    run(read_all)
