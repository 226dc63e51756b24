"""Places in a log: where it ends, which event stands at a position, how to know that event again, what is no longer there.

Owns these questions, which bus, subscriptions, snapshots, projections and imports all ask. Changes nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

from aresbus._core import Event, Log

__all__ = ["Anchor", "Lost", "anchor_at", "anchor_of", "end_of", "event_at", "stands"]


class Anchor(NamedTuple):
    """An event as a place in its log: it is this one only if all three agree (a cut log uses a position again).

    Compared, the one that was appended first is the lesser.
    """

    epoch: int
    seq: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Events from ``from_seq`` up to, not including, ``to_seq`` were no longer kept when it came to them."""

    from_seq: int
    to_seq: int
    """The oldest event that was kept then."""


def end_of(log: Log) -> int:
    """The position behind the newest event; 0 where there is none. Raises what ``log.last_seq`` raises."""
    last = log.last_seq
    return 0 if last is None else last + 1


def event_at(log: Log, seq: int) -> Event | None:
    """The event at ``seq``, or None where the log holds none there."""
    if not max(0, log.first_seq) <= seq < end_of(log):
        return None
    return next(iter(log.read(after=seq - 1 if seq else None, up_to=seq, limit=1)), None)


def anchor_of(event: Event) -> Anchor:
    """The place of an event that is in a log."""
    return Anchor(event.epoch or 0, event.seq or 0, event.event_id)


def anchor_at(log: Log, seq: int) -> Anchor | None:
    """The event at ``seq`` as a place; None where the log has none there."""
    event = event_at(log, seq)
    return None if event is None else anchor_of(event)


def stands(log: Log, anchor: Anchor) -> bool:
    """Whether the event is still the one at its place (R19). Of one that retention dropped nobody says otherwise."""
    return anchor.seq < log.first_seq or anchor_at(log, anchor.seq) == anchor
