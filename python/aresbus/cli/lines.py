"""One line of a captured feed, and what of it becomes an event.

Owns the reading of lines: receive time, type, aggregate, payload. Knows no log. Invariants: a payload is the line's JSON
text byte for byte; a line that is not wholly understood raises, nothing is guessed.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import orjson

__all__ = ["BadLineError", "BrokenFeedError", "Message", "parse_line", "read_feed"]

GZIP_MAGIC = b"\x1f\x8b"
MAX_TIME_NS = 2**63 - 1
MAX_TIME_DIGITS = len(str(MAX_TIME_NS))
SNAPSHOT = "snapshot"
"""The type of a message that names no feed: an exchange's answer to a request for its order book."""


class BadLineError(ValueError):
    """The line is no message; the text says why."""


class BrokenFeedError(ValueError):
    """The compressed feed ends or breaks in the middle; what came before it is good."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is to be stored."""

    event_type: str
    aggregate_id: str | None
    payload: bytes
    time_ns: int
    data: dict[str, Any]
    """The payload, decoded."""


def parse_line(line: bytes, source: str) -> Message:
    """Read ``<receive time in ns> <JSON object>``; raises BadLineError."""
    time_text, space, payload = line.removesuffix(b"\n").partition(b" ")
    if not space or not payload.strip():
        raise BadLineError("no receive time and JSON text with one space between")
    if not time_text.isdigit() or len(time_text) > MAX_TIME_DIGITS or int(time_text) > MAX_TIME_NS:
        raise BadLineError(f"receive time is no count of nanoseconds: {shown(time_text)}")
    try:
        data = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadLineError(f"no JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadLineError(f"no JSON object: {shown(payload)}")
    symbol = _symbol(data)
    return Message(
        event_type=_event_type(data),
        aggregate_id=f"{source}:{symbol}" if symbol else None,
        payload=payload,
        time_ns=int(time_text),
        data=data,
    )


def read_feed(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a capture, unpacked if it is gzip (told by its first bytes); raises BrokenFeedError."""
    peek = getattr(file, "peek", None)
    if peek is None or not peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC):
        yield from file
        return
    with gzip.GzipFile(fileobj=file) as unpacked:
        try:
            yield from unpacked
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BrokenFeedError(f"the gzip data is damaged or cut off here: {error}") from None


def shown(text: bytes, limit: int = 40) -> str:
    """A few bytes of somebody's input, safe to print."""
    return repr(text[:limit].decode("utf-8", "replace")) + ("…" if len(text) > limit else "")


def _event_type(data: dict[str, Any]) -> str:
    feed = data.get("stream")
    parts = feed.split("@") if isinstance(feed, str) else []
    return parts[1] if len(parts) > 1 and parts[1] else SNAPSHOT


def _symbol(data: dict[str, Any]) -> str | None:
    inner = data.get("data")
    symbol = inner.get("s") if isinstance(inner, dict) else None
    return symbol if isinstance(symbol, str) else None
