"""What two replays are compared by: one hash over what was published, one over what was read.

Owns the canonical form of an event for this purpose. Knows no replay. Invariants: every field is preceded by its length,
so that no two sequences of events have one form; what a clock or a random number decided (position, event id, time of
the append, causation) is no part of a decision, so that what was decided live has the digest of its replay.
"""

import hashlib
from collections.abc import Iterable

from aresbus._core import Event

__all__ = ["Digest", "decision_form", "digest_of", "input_form"]

DIGEST_BYTES = 32
FORM = b"aresbus replay 1"
"""Names the canonical form in every hash (BLAKE2's personalisation): another form, other digests."""
ABSENT = b"\xff\xff\xff\xff"
"""In place of a length: the field is None. No field is that long."""


class Digest:
    """A running BLAKE2b-256 over the forms of events."""

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        """Of nothing yet."""
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES, person=FORM)

    def add(self, form: bytes) -> None:
        """Take in the next event."""
        self._hash.update(form)

    def text(self) -> str:
        """The digest of everything so far: 64 hexadecimal digits."""
        return self._hash.hexdigest()


def digest_of(events: Iterable[Event]) -> str:
    """The digest that a replay would have which published these events, in this order: 64 hexadecimal digits.

    For stored events, such as ``log.read(types="trade_decision_made")``: equal to ``replay.digest`` where the replay
    decided as the recorded day did. Covers type, schema version, source, aggregate, correlation, event time, tags and
    stored data. Raises ValueError for an event that was never stored.
    """
    digest = Digest()
    for event in events:
        digest.add(decision_form(event))
    return digest.text()


def decision_form(event: Event) -> bytes:
    """What an event says, whenever and under whatever id it was published."""
    if event.raw is None:
        raise ValueError(f"{event!r} was never stored: its bytes are not known")
    tags = event.tags
    return _fields(
        str(event.event_type).encode(),
        event.schema_version.encode(),
        event.source.encode(),
        _text(event.aggregate_id),
        _text(event.correlation_id),
        None if event.event_time_ns is None else b"%d" % event.event_time_ns,
        _fields(*(text.encode() for pair in sorted(tags.items()) for text in pair)) if tags else None,
        event.raw,
    )


def input_form(event: Event) -> bytes:
    """Which event of a log this is, with its data. The rest of it is as immutable as the log: this is taken per event."""
    raw = event.raw or b""
    return b"%d %d %s %d " % (event.seq or 0, event.ts_ns or 0, event.event_id.encode(), len(raw)) + raw


def _text(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _fields(*fields: bytes | None) -> bytes:
    return b"".join([ABSENT if one is None else len(one).to_bytes(4, "little") + one for one in fields])
