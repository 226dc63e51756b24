"""Places in a log: where it ends, and which event stands at a position.

Owns these two questions, which bus, subscriptions, snapshots, projections and imports all ask. Changes nothing.
"""

from aresbus._core import Event, Log

__all__ = ["end_of", "event_at"]


def end_of(log: Log) -> int:
    """The position behind the newest event; 0 where there is none. Raises what ``log.last_seq`` raises."""
    last = log.last_seq
    return 0 if last is None else last + 1


def event_at(log: Log, seq: int) -> Event | None:
    """The event at ``seq``, or None where the log holds none there."""
    if not max(0, log.first_seq) <= seq < end_of(log):
        return None
    return next(iter(log.read(after=seq - 1 if seq else None, up_to=seq, limit=1)), None)
