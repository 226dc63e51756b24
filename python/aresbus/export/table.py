"""Events as rows: the columns that CSV and Parquet share, and CSV itself.

Owns the columns. Knows neither folders nor logs. Invariants: the columns are the fields of ``aresbus read --json``; times
are whole nanoseconds; a payload is the stored JSON text, or base64 where it is no JSON.
"""

import base64
import csv
import io
from collections.abc import Iterable
from typing import Any, Protocol

import orjson

from aresbus._core import Event

__all__ = ["COLUMNS", "row_of", "write_csv"]

COLUMNS = {
    "seq": int,
    "event_id": str,
    "event_type": str,
    "aggregate_id": str,
    "aggregate_version": int,
    "source": str,
    "correlation_id": str,
    "causation_id": str,
    "schema_version": str,
    "tags": str,
    "ts_ns": int,
    "event_time_ns": int,
    "epoch": int,
    "encoding": str,
    "lossy": bool,
    "data": str,
    "data_base64": str,
}
"""Name to type; everything but seq, event_id and event_type may be missing."""
ROWS_AT_ONCE = 1_000


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take the data."""


def row_of(event: Event) -> tuple[Any, ...]:
    """The event's values in the order of the columns."""
    raw, is_opaque = event.raw or b"", event.encoding == "bytes"
    return (
        event.seq,
        event.event_id,
        str(event.event_type),
        event.aggregate_id,
        event.aggregate_version,
        event.source,
        event.correlation_id,
        event.causation_id,
        event.schema_version,
        orjson.dumps(event.tags, option=orjson.OPT_SORT_KEYS).decode(),
        event.ts_ns,
        event.event_time_ns,
        event.epoch,
        event.encoding,
        event.lossy,
        None if is_opaque else raw.decode(),
        base64.b64encode(raw).decode() if is_opaque else None,
    )


def write_csv(file: Sink, events: Iterable[Event]) -> int:
    """Write a line of names and a line per event (RFC 4180, UTF-8, line feeds); how many events there were."""
    count = 0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for event in events:
        writer.writerow(row_of(event))
        count += 1
        if count % ROWS_AT_ONCE == 0:
            file.write(text.getvalue().encode())
            text.seek(0)
            text.truncate()
    file.write(text.getvalue().encode())
    return count
