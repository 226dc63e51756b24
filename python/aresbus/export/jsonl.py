"""Events as lines of the older layout, a file for each day.

Owns the line and the days. Knows no log. Invariants: the lines of all files, by date, are in the order of
the log; what import added to an event is taken off again, so that a log brought in and taken out gives the same bytes.
"""

from collections.abc import Iterable

import orjson

from aresbus._core import Event
from aresbus.events import BYTES_KEY, DEFAULT_VERSION, NS_PER_US, VERSION_TAG, datetime_of_ns, plain_json
from aresbus.export.folder import ExportFolder
from aresbus.legacy.layout import EVENTS, NUMBER_TAG, ORIGIN_TAG, PACKED, TIME_TAG, number_in
from aresbus.legacy.line import BadLineError, exact_json, parse_json

__all__ = ["line_of", "number_of", "write_days"]


def line_of(event: Event) -> bytes:
    """The event as ``Event.to_dict`` gives it, on one line with its end."""
    ns = _time_ns(event)
    tags = event.tags
    tags.pop(ORIGIN_TAG, None)
    number = number_in(tags)
    tags.pop(NUMBER_TAG, None)
    version = tags.pop(VERSION_TAG, DEFAULT_VERSION)
    if event.event_time_ns is not None and ns % NS_PER_US:
        tags[TIME_TAG] = str(ns)
    metadata = {
        "event_id": event.event_id,
        "version": version,
        "schema_version": event.schema_version,
        "timestamp": datetime_of_ns(ns).isoformat(),
        "source": event.source,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "aggregate_id": event.aggregate_id,
        "sequence_number": event.seq if number is None else number,
        "retry_count": 0,
        "status": "pending",
        "tags": tags,
    }
    shape = {"event_type": str(event.event_type), "data": _data(event), "metadata": metadata}
    return orjson.dumps(shape, option=orjson.OPT_APPEND_NEWLINE)


def number_of(event: Event) -> int:
    """The sequence number that the event is exported with: the one it came with, else its position."""
    number = number_in(event.tags)
    return number if number is not None else event.seq or 0


def write_days(folder: ExportFolder, events: Iterable[Event], *, packed: bool) -> set[str]:
    """Write each event into the file of its day; which aggregates there were.

    The day is the latest, in UTC, that the events so far speak of: one that speaks of an earlier day stays behind those
    before it, as it does in the log, and a file is never gone back to.
    """
    folder.make_folder(EVENTS)
    aggregates: set[str] = set()
    day, count, file = "", 0, None
    for event in events:
        its_day = datetime_of_ns(_time_ns(event)).date().isoformat()
        if file is None or its_day > day:
            if file is not None:
                file.close()
                folder.seal(_name(day, packed=packed), events=count)
            day, count = its_day, 0
            file = folder.create(_name(day, packed=packed), packed=packed)
        file.write(line_of(event))
        count += 1
        if event.aggregate_id is not None:
            aggregates.add(event.aggregate_id)
    if file is not None:
        file.close()
        folder.seal(_name(day, packed=packed), events=count)
    return aggregates


def _name(day: str, *, packed: bool) -> str:
    return f"{EVENTS}/events_{day}.jsonl{PACKED if packed else ''}"


def _time_ns(event: Event) -> int:
    spoken_of = event.event_time_ns
    return (event.ts_ns or 0) if spoken_of is None else spoken_of


def _data(event: Event) -> orjson.Fragment | dict[str, str]:
    raw = event.raw or b""
    if event.encoding == "json":
        return orjson.Fragment(raw)  # on one line already, as orjson writes it
    if event.encoding == "bytes":
        return {BYTES_KEY: plain_json(raw)[BYTES_KEY]}
    try:
        value, is_plain, _ = parse_json(raw)
        return orjson.Fragment(orjson.dumps(value) if is_plain else exact_json(value))
    except (BadLineError, TypeError):
        # JSON that Python cannot hold, like numbers beyond a float; line breaks in JSON can only be blanks.
        return orjson.Fragment(raw.replace(b"\n", b" ").replace(b"\r", b" "))
