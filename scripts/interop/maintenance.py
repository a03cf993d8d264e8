"""Spark maintains a table of ours through the catalogue, and PyIceberg reads it."""

from bridge import run
from readers import spark_session


def spark_maintains(ask):
    settings = {"type": "rest", "uri": ask["uri"], "warehouse": "demo", "token": ask["token"]}
    conf = {f"spark.sql.catalog.lake.{key}": value for key, value in settings.items()}
    spark = spark_session(**{"spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog", **conf})
    table = ask["table"]
    first = lambda sql: spark.sql(sql).first().asDict()
    seen = {}
    for call in ask["calls"]:
        seen[call["name"]] = first(f"CALL lake.system.{call['name']}(table => '{table}', {call['arguments']})")
    spark.catalog.clearCache()
    seen["rows"] = spark.sql(f"SELECT * FROM lake.{table}").toArrow().to_pylist()
    return seen


def pyiceberg_reads(ask):
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("lake", type="rest", uri=ask["uri"], token=ask["token"])
    return {"rows": catalog.load_table(ask["table"]).scan().to_arrow().to_pylist()}


DO = {"spark": spark_maintains, "pyiceberg": pyiceberg_reads}

if __name__ == "__main__":
    run(lambda ask: DO[ask["engine"]](ask))
