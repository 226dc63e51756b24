"""Which event of the log a snapshot of the older store was taken after.

Owns that question alone; reads no file and writes nothing. The older numbers may restart, so a number names an event only
together with its aggregate and a time. Invariant: where it cannot be told, the answer is None, never a guess.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from aresbus.events import EventSnapshot, ns_of_datetime

__all__ = ["Anchors"]

SYSTEM = "system"
"""The older bus's snapshots of its own figures: their number is that of the event to come."""


@dataclass(slots=True)
class _Search:
    number: int
    time_ns: int
    in_time: int | None = None
    """The newest event with the snapshot's number that is not younger than the snapshot."""
    newest: int | None = None
    count: int = 0
    """Events with the snapshot's number, whatever their time, and the newest of them."""
    before: int | None = None
    """The newest event with a lower number that is not younger than the snapshot."""

    def look(self, number: int, time_ns: int, seq: int) -> None:
        is_in_time = time_ns <= self.time_ns
        if number == self.number:
            self.count += 1
            self.newest = seq
            if is_in_time:
                self.in_time = seq
        elif number < self.number and is_in_time:
            self.before = seq


class Anchors:
    """The search for the events of some snapshots, at most one of each aggregate, while events pass by."""

    def __init__(self, snapshots: Iterable[EventSnapshot]) -> None:
        """Look for the events of these."""
        self._searches = {
            one.aggregate_id: _Search(one.sequence_number, ns_of_datetime(one.timestamp)) for one in snapshots
        }

    def observe(self, aggregate_id: str | None, number: int, time_ns: int, seq: int) -> None:
        """An event of the older store, its number and time there, and its position in the log; in the log's order."""
        searches = self._searches
        if not searches:
            return
        if aggregate_id in searches and aggregate_id != SYSTEM:
            searches[aggregate_id].look(number, time_ns, seq)
        if SYSTEM in searches:
            searches[SYSTEM].look(number, time_ns, seq)

    def of(self, aggregate_id: str) -> int | None:
        """The position of the event that the aggregate's snapshot was taken after, or None."""
        search = self._searches[aggregate_id]
        if search.in_time is not None:
            return search.in_time
        if aggregate_id == SYSTEM and search.before is not None:
            return search.before
        return search.newest if search.count == 1 else None
