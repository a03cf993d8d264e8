"""A Python script as a function of TypeScript: one JSON document in on stdin, one out on descriptor 3.

Standard output is free for whatever libraries like to print. Values come out in one form, whichever engine read them:

    integer    decimal text, so that 64 bits survive JSON        "9007199254740993"
    number     JSON number; NaN and infinities as text
    timestamp  ISO 8601 in UTC with microseconds                 "2026-01-15T00:00:00.000000Z"
    decimal    text
    bytes      base64
    others     as they are; null is null
"""

import base64
import datetime
import decimal
import json
import math
import os
import sys


def plain(value):
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, datetime.datetime):
        utc = value.astimezone(datetime.timezone.utc) if value.tzinfo else value
        return utc.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    raise TypeError(f"no plain form for {type(value).__name__}")


def run(function):
    """Calls `function` with the input and answers with what it returns."""
    result = function(json.load(sys.stdin))
    with os.fdopen(3, "w") as out:
        json.dump(plain(result), out)
