"""``aresbus read``: stored events on stdout, in the order of the log or the newest first.

Owns the three forms of an event: a line for people, a JSON object a line, the stored bytes. Knows nothing of files.
Invariant: a payload is cut short only for a person at a terminal; in a pipe it is whole.
"""

import base64
import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from aresbus._core import Event, Log
from aresbus.log import open as open_log
from aresbus.readable import printable, time_text

__all__ = ["filters", "fitted", "followed", "json_line", "run", "text_line", "time_text", "writer"]

GLIMPSE_BYTES = 16
"""Shown of an opaque payload."""


def run(arguments: Namespace) -> int:
    """Print what matches; 130 when Ctrl-C ended it, except that with --follow Ctrl-C is the way to end: 0."""
    write = writer(arguments)
    with open_log(arguments.log, mode="r") as log:
        try:
            for event in _events(log, arguments):
                write(event)
        except KeyboardInterrupt:
            if not arguments.follow:
                raise
    return 0


def _events(log: Log, arguments: Namespace) -> Iterator[Event]:
    if not arguments.follow:
        return log.read(**filters(arguments), direction="backward" if arguments.backward else "forward")
    return islice(log.follow(arguments.after, **followed(arguments)), arguments.limit)


def followed(arguments: Namespace) -> dict[str, Any]:
    """What says which events wherever they begin, as keywords of ``Log.follow``."""
    return {
        "types": arguments.types,
        "aggregate_id": arguments.aggregate,
        "correlation_id": arguments.correlation,
        "source": arguments.source,
        "tags": dict(arguments.tags),
    }


def filters(arguments: Namespace) -> dict[str, Any]:
    """What says which events, as keywords of ``Log.read``."""
    return followed(arguments) | {
        "after": arguments.after,
        "up_to": arguments.up_to,
        "since": arguments.since,
        "until": arguments.until,
        "time": arguments.time,
        "limit": arguments.limit,
        "durable": arguments.durable,
    }


def writer(arguments: Namespace) -> Callable[[Event], None]:
    """What prints an event in the form that was asked for; with --follow at once."""
    if arguments.raw:
        return _write_raw
    write = _write_json if arguments.json else _write_line
    if not arguments.follow:
        return write

    def write_now(event: Event) -> None:
        """Somebody waits for this very event, perhaps behind a pipe."""
        write(event)
        sys.stdout.flush()

    return write_now


def _write_raw(event: Event) -> None:
    sys.stdout.buffer.write((event.raw or b"") + b"\n")


def _write_json(event: Event) -> None:
    sys.stdout.write(json_line(event) + "\n")


def _write_line(event: Event) -> None:
    line = text_line(event)
    sys.stdout.write(
        (fitted(line, shutil.get_terminal_size().columns) if sys.stdout.isatty() else line) + "\n"
    )


def text_line(event: Event) -> str:
    """``     7  2024-08-08T23:54:13.937085768Z  trade  binance-spot:BTCUSDT@3  {"stream":…}``."""
    spoken_of = event.event_time_ns if event.event_time_ns is not None else event.ts_ns
    place = f"{event.aggregate_id}@{event.aggregate_version}" if event.aggregate_id else "-"
    return f"{event.seq:>8}  {time_text(spoken_of)}  {event.event_type:<12}  {place}  {_payload_text(event)}"


def fitted(line: str, width: int) -> str:
    """The line as a terminal may show it: one row, and no control character out of somebody's data."""
    line = line if len(line) <= width else line[: width - 1] + "…"
    return printable(line)


def json_line(event: Event) -> str:
    """One JSON object on one line; the payload under ``data``, or ``data_base64`` where it is no JSON."""
    fields = {
        "seq": event.seq,
        "event_id": event.event_id,
        "event_type": str(event.event_type),
        "aggregate_id": event.aggregate_id,
        "aggregate_version": event.aggregate_version,
        "source": event.source,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "schema_version": event.schema_version,
        "tags": event.tags,
        "ts_ns": event.ts_ns,
        "event_time_ns": event.event_time_ns,
        "epoch": event.epoch,
        "encoding": event.encoding,
        "lossy": event.lossy,
    }
    raw = event.raw or b""
    if event.encoding == "bytes":
        return json.dumps(fields | {"data_base64": base64.b64encode(raw).decode()}, ensure_ascii=False)
    # Spliced in as stored: decoding and encoding again could change it. Line breaks in JSON can only be blanks.
    data = raw.replace(b"\n", b" ").replace(b"\r", b" ").decode()
    return f'{json.dumps(fields, ensure_ascii=False)[:-1]}, "data": {data}}}'


def _payload_text(event: Event) -> str:
    raw = event.raw or b""
    if event.encoding == "bytes":
        return f"{len(raw):,} bytes: {raw[:GLIMPSE_BYTES].hex(' ')}{'…' if len(raw) > GLIMPSE_BYTES else ''}"
    return " ".join(raw.decode("utf-8", "replace").split("\n"))
