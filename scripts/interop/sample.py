"""Writes a small Iceberg table with PyIceberg's SqlCatalog into a directory; answers with the metadata after each step."""

import datetime

import pyarrow as pa
from bridge import run
from pyiceberg.catalog.sql import SqlCatalog

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("rating", pa.float64()),
        pa.field("seen", pa.timestamp("us", tz="UTC")),
        pa.field("raw", pa.binary()),
    ]
)


def write(ask):
    directory = ask["directory"]
    catalog = SqlCatalog("sample", uri=f"sqlite:///{directory}/catalog.db", warehouse=f"file://{directory}")
    catalog.create_namespace("demo")
    table = catalog.create_table("demo.movies", SCHEMA, properties={"format-version": "2"})
    seen = datetime.datetime(2026, 1, 15, 12, 30, 0, 123456, tzinfo=datetime.timezone.utc)
    rows = [
        {"id": 1, "title": "Alien", "rating": 8.5, "seen": seen, "raw": b"\x00\xff"},
        {"id": 9007199254740993, "title": None, "rating": None, "seen": None, "raw": None},
        {"id": 3, "title": "Brazil 🎬", "rating": 7.9, "seen": seen, "raw": b""},
    ]
    table.append(pa.Table.from_pylist(rows, schema=SCHEMA))
    appended = {"metadata": table.metadata_location, "snapshotId": table.current_snapshot().snapshot_id}
    table.delete("id = 3")
    return {"appended": appended, "deleted": {"metadata": table.metadata_location}}


run(write)
