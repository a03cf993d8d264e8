"""Reads tables of a lake that is not ours, catalogue and object store, with keys of its own. Answers with rows by table."""

from bridge import run
from readers import SPARK_AWS, SPARK_RUNTIME, duckdb_connection, spark_session


def pyiceberg_rows(ask):
    from pyiceberg.catalog import load_catalog

    s3 = ask["s3"]
    keys = {
        "s3.endpoint": s3["endpoint"],
        "s3.region": s3["region"],
        "s3.access-key-id": s3["accessKeyId"],
        "s3.secret-access-key": s3["secretAccessKey"],
    }
    catalog = load_catalog("lake", type="rest", uri=ask["uri"], **keys, **{"header.X-Iceberg-Access-Delegation": ""})
    return {name: catalog.load_table(name).scan().to_arrow().to_pylist() for name in ask["tables"]}


def duckdb_rows(ask):
    con, s3 = duckdb_connection(), ask["s3"]
    host = s3["endpoint"].removeprefix("http://")
    con.execute(
        f"CREATE SECRET files (TYPE s3, ENDPOINT '{host}', USE_SSL false, URL_STYLE 'path', REGION '{s3['region']}',"
        f" KEY_ID '{s3['accessKeyId']}', SECRET '{s3['secretAccessKey']}')"
    )
    con.execute(
        f"ATTACH '' AS lake (TYPE iceberg, ENDPOINT '{ask['uri']}', AUTHORIZATION_TYPE 'none', ACCESS_DELEGATION_MODE 'none')"
    )

    def rows(name):
        cursor = con.execute(f"SELECT * FROM lake.{name}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]

    return {name: rows(name) for name in ask["tables"]}


def spark_rows(ask):
    s3 = ask["s3"]
    settings = {
        "type": "rest",
        "uri": ask["uri"],
        "s3.endpoint": s3["endpoint"],
        "s3.path-style-access": "true",
        "s3.access-key-id": s3["accessKeyId"],
        "s3.secret-access-key": s3["secretAccessKey"],
        "client.region": s3["region"],
    }
    conf = {f"spark.sql.catalog.lake.{key}": value for key, value in settings.items()}
    packages = f"{SPARK_RUNTIME},{SPARK_AWS}"
    catalogue = {"spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog", "spark.jars.packages": packages}
    spark = spark_session(**catalogue, **conf)
    return {name: spark.sql(f"SELECT * FROM lake.{name}").toArrow().to_pylist() for name in ask["tables"]}


ENGINES = {"pyiceberg": pyiceberg_rows, "duckdb": duckdb_rows, "spark": spark_rows}

if __name__ == "__main__":
    run(lambda ask: ENGINES[ask["engine"]](ask))
