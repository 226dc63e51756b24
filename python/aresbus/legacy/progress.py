"""What a log already holds of an older store: the log itself is the progress of an import.

Owns the one pass over the log that finds out. Invariant: whatever a killed import had appended is found, and nothing else,
because the place of its line stands on each event.
"""

from aresbus._core import Log
from aresbus.legacy.anchors import Anchors
from aresbus.legacy.feed import Place
from aresbus.legacy.layout import ORIGIN_TAG, number_in

__all__ = ["BEFORE", "Progress"]

BEFORE = -1
"""Stands for the line of an event that the log held before this import began."""


class Progress:
    """The ids in the log, and the newest imported line of each file."""

    def __init__(self, log: Log, anchors: Anchors) -> None:
        """Read the whole log once; about 200 bytes of memory an event."""
        self.ids: dict[str, int] = {}
        """Event id to the line, counted through all files, that this import appended it from; else BEFORE."""
        self.places: dict[str, Place] = {}
        for event in log.read():
            event_id = event.event_id
            self.ids[event_id] = BEFORE
            tags = event.tags
            known = Place.parse(tags.get(ORIGIN_TAG, ""), event_id)
            if known is not None:
                file, self.places[file] = known[0], known[1]
                seq = event.seq or 0
                number = number_in(tags)
                number = seq if number is None else number
                anchors.observe(event.aggregate_id, number, event.event_time_ns or 0, seq)
