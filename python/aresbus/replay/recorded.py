"""The recorded side of a replay: a fixed range of a log, one event at a time, with a look ahead.

Owns the cursor, its filters and the choice between the two times of an event. Delivers nothing. Invariants: the end of
the range is fixed when the replay is made, whatever is appended meanwhile; events come in the order of the log,
whichever time is chosen.
"""

from collections.abc import Collection, Iterator
from typing import Any, Literal

from aresbus._core import Event, Log

__all__ = ["Recorded"]


class Recorded:
    """What is replayed."""

    def __init__(
        self,
        log: Log,
        *,
        after: int | None,
        up_to: int | None,
        since: Any,
        until: Any,
        time: Literal["append", "event"],
        types: Collection[str] | None,
        without: Collection[str],
        aggregate_id: str | None,
    ) -> None:
        """Begin before the first event that matches. Raises what ``Log.read`` raises."""
        last = log.last_seq
        self.log: Log = log
        self.types: frozenset[str] | None = None if types is None else frozenset(types)
        self.without: frozenset[str] = frozenset(without)
        self.first: int = log.first_seq if after is None else max(log.first_seq, after + 1)
        self.last: int | None = last if up_to is None or last is None else min(up_to, last)
        """The last position that is looked at; None where the log is empty."""
        self._by_event_time = time == "event"
        self._filters: dict[str, Any] = {
            "since": since,
            "until": until,
            "time": time,
            "types": None if types is None else sorted(types),
            "aggregate_id": aggregate_id,
        }
        self._ahead: Event | None = None
        self._reader: Iterator[Event] = self._read(after)

    def _read(self, after: int | None) -> Iterator[Event]:
        # An empty log is read too, so that filters without sense are refused here as everywhere.
        return self.log.read(after, 0 if self.last is None else self.last, **self._filters)

    def peek(self) -> Event | None:
        """The next event, which stays next; None at the end. Blocks for the disk."""
        if self._ahead is None and self.last is not None:
            self._ahead = next(
                (event for event in self._reader if event.event_type not in self.without), None
            )
        return self._ahead

    def take(self) -> None:
        """Pass the event that was peeked at."""
        self._ahead = None

    def seek(self, seq: int) -> None:
        """The next event is the first that matches from ``seq`` on. Raises ValueError outside of the range."""
        if isinstance(seq, bool) or not isinstance(seq, int):
            raise TypeError(f"a position is a whole number, not {type(seq).__name__}")
        if self.last is None or not self.first <= seq <= self.last:
            raise ValueError(f"position {seq} lies outside of the replay: {self.first} to {self.last}")
        self._ahead = None
        self._reader = self._read(seq - 1 if seq else None)

    def time_of(self, event: Event) -> int:
        """The recorded time that the replay goes by, ns since 1970."""
        if self._by_event_time and event.event_time_ns is not None:
            return event.event_time_ns
        return event.ts_ns or 0
