"""Reads many snapshots with one engine in one process: Spark takes seconds to start."""

from bridge import run
from readers import READERS


def read_all(ask):
    read = READERS[ask["engine"]]
    return [read(each["metadata"], int(each["snapshotId"])) for each in ask["reads"]]


run(read_all)
