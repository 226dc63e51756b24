"""One line of the older layout, and what of it becomes an event.

Owns the reading of a line: its JSON, its fields, its time. Knows no file and no log. Invariants: a line that is not wholly
understood raises, nothing is guessed; an integer keeps its value, however long it is; status and retry count are
delivery's and left behind.
"""

import base64
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from aresbus.events import BYTES_KEY, DEFAULT_VERSION, NS_PER_US, VERSION_TAG, ns_of_datetime
from aresbus.legacy.layout import NUMBER, TIME_TAG

__all__ = ["BadLineError", "LegacyEvent", "exact_json", "parse_event", "parse_json", "parse_time"]

FIELDS = {"event_type", "data", "metadata"}
METADATA_FIELDS = {
    "event_id",
    "version",
    "schema_version",
    "timestamp",
    "source",
    "correlation_id",
    "causation_id",
    "aggregate_id",
    "sequence_number",
    "retry_count",
    "status",
    "tags",
}
EXACT_TIME = re.compile(r"-?[0-9]{1,19}")
DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
LONG_POSITIVE, LONG_NEGATIVE = b"0" * 20, b"-" + b"0" * 19
"""With all digits alike: what may be an integer beyond 64 bits, which orjson would turn into a float."""


class BadLineError(ValueError):
    """The line is no event; the text says why."""


@dataclass(slots=True)
class LegacyEvent:
    """One event as it is to be appended."""

    event_type: str
    data: Any
    keywords: dict[str, Any]
    """The keywords of append, but for tags."""
    tags: dict[str, str]
    number: int | None
    """The sequence number it had."""
    payload: bytes | None = None
    """Stored byte for byte in place of the data, where that has a form of its own."""
    encoding: Literal["bytes", "json"] = "json"
    is_non_finite: bool = False


def parse_event(line: bytes) -> LegacyEvent:
    """Read one line. Raises BadLineError."""
    value, is_plain, is_non_finite = parse_json(line)
    if not isinstance(value, dict):
        raise BadLineError(f"no JSON object but {type(value).__name__}")
    _check_fields("the event", value, FIELDS, FIELDS)
    metadata = value["metadata"]
    if not isinstance(metadata, dict):
        raise BadLineError(f"metadata is {type(metadata).__name__}, not an object")
    _check_fields("metadata", metadata, METADATA_FIELDS, {"event_id", "timestamp"})
    if not is_plain:
        exact_json([value["event_type"], metadata])  # json takes lone surrogates, which are no text
    text = metadata.get
    tags = _tags(text("tags"))
    version = _text("version", text("version")) or DEFAULT_VERSION
    if version != DEFAULT_VERSION:
        tags[VERSION_TAG] = version
    event = LegacyEvent(
        event_type=_required("event_type", value["event_type"]),
        data=value["data"],
        keywords={
            "event_id": _required("event_id", metadata["event_id"]),
            "event_time_ns": _time_ns(metadata["timestamp"], tags),
            "schema_version": _text("schema_version", text("schema_version")) or DEFAULT_VERSION,
            "source": _text("source", text("source")) or "",
            "correlation_id": _text("correlation_id", text("correlation_id")),
            "causation_id": _text("causation_id", text("causation_id")),
            "aggregate_id": _text("aggregate_id", text("aggregate_id")),
        },
        tags=tags,
        number=_number(text("sequence_number")),
        is_non_finite=is_non_finite,
    )
    _settle_payload(event, is_plain=is_plain)
    return event


def parse_json(line: bytes) -> tuple[Any, bool, bool]:
    """The value; whether orjson read it, so that it can write it too; whether NaN or an infinity stands in it.

    The older store wrote what Python's json writes: also NaN, and integers of any length. Raises BadLineError.
    """
    alike = line.translate(DIGITS_ALIKE)  # a twentieth of the time of a pattern
    if LONG_POSITIVE not in alike and LONG_NEGATIVE not in alike:
        try:
            return orjson.loads(line), True, False
        except orjson.JSONDecodeError:
            pass  # perhaps NaN: json knows, and says better what is wrong
    non_finite: list[str] = []

    def constant(name: str) -> float:
        non_finite.append(name)
        return float(name)

    try:
        value = json.loads(line.decode(), parse_constant=constant)
    except UnicodeDecodeError as error:
        raise BadLineError(f"no UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        nulls = ", with NUL bytes as a crash leaves them" if b"\0" in line else ""
        raise BadLineError(f"no JSON: {error}{nulls}") from None
    except RecursionError:
        raise BadLineError("no JSON that can be stored: nested too deeply") from None
    return value, False, bool(non_finite)


def parse_time(text: str) -> datetime:
    """A time of the older store: ISO 8601, a blank for the T allowed; without a zone it is UTC. Raises BadLineError."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadLineError(f"timestamp is no time in ISO 8601: {text[:40]!r}") from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _settle_payload(event: LegacyEvent, *, is_plain: bool) -> None:
    """Bytes and integers beyond 64 bits have no form that append takes: they are stored as they are."""
    data = event.data
    opaque = _opaque(data)
    if opaque is not None:
        event.payload, event.encoding = opaque, "bytes"
    elif not is_plain:
        try:
            orjson.dumps(data)
        except TypeError:
            event.payload = exact_json(data)


def _opaque(data: Any) -> bytes | None:
    """The bytes that the data stands for, if it does; somebody's own object may happen to have this key."""
    text = data.get(BYTES_KEY) if isinstance(data, dict) and len(data) == 1 else None
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def exact_json(value: Any) -> bytes:
    """JSON with integers of any length. Raises BadLineError for what has no JSON form in UTF-8."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise BadLineError(f"it cannot be stored: {error}") from None


def _check_fields(what: str, value: dict[str, Any], known: set[str], required: set[str]) -> None:
    if value.keys() == known:
        return
    if unknown := value.keys() - known:
        raise BadLineError(f"{what} has a field that no event of Ares has: {', '.join(sorted(unknown))[:80]}")
    if missing := required - value.keys():
        raise BadLineError(f"{what} lacks {', '.join(sorted(missing))}")


def _text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise BadLineError(f"{name} is {type(value).__name__}, not text")


def _required(name: str, value: Any) -> str:
    if text := _text(name, value):
        return text
    raise BadLineError(f"{name} is empty")


def _number(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if NUMBER.fullmatch(str(value)):
            return value
        raise BadLineError("sequence_number has more than 18 digits")
    raise BadLineError(f"sequence_number is {type(value).__name__}, not a whole number")


def _tags(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadLineError(f"tags is {type(value).__name__}, not an object")
    # The older store did not mind what a tag was; a log keeps text.
    return {name: one if isinstance(one, str) else json.dumps(one) for name, one in value.items()}


def _time_ns(value: Any, tags: dict[str, str]) -> int:
    if not isinstance(value, str):
        raise BadLineError(f"timestamp is {type(value).__name__}, not a time in ISO 8601")
    ns = ns_of_datetime(parse_time(value))
    exact = tags.pop(TIME_TAG, "")
    if not EXACT_TIME.fullmatch(exact):
        return ns
    # Believed only where it says the same and more.
    return int(exact) if int(exact) // NS_PER_US == ns // NS_PER_US else ns
