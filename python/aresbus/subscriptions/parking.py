"""Deliveries set aside: which, why, and which keys they hold up.

Owns the shape of a parked delivery, what every parking place can do, and the one in memory. Knows no handler. Invariant: a
delivery leaves only by being delivered again or dropped by somebody's word; the place in memory drops its oldest
when it is full, and says so.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from aresbus._core import Event
from aresbus.errors import HandlerError
from aresbus.places import Anchor

__all__ = ["MemoryParking", "ParkedDelivery", "Parking"]

PARKED_LIMIT = 10_000
"""Parked deliveries kept in memory per subscription; beyond it the oldest go. About 10 MB of trades."""


@dataclass(frozen=True, slots=True)
class ParkedDelivery:
    """A delivery set aside: the event, how often it was tried, and why it was not taken.

    ``place`` is where the event was in the log, also after the log lost it (``event.seq`` is None then). ``is_queued``: it was never tried, but stands behind an earlier one of its ``key`` that is parked.
    """

    event: Event
    attempts: int
    error: HandlerError
    place: Anchor
    key: Hashable = None
    is_queued: bool = False


class Parking(Protocol):
    """Where a subscription's parked deliveries are."""

    def park(self, delivery: ParkedDelivery) -> int:
        """Set it aside, or replace the one of the same event; how many had to be dropped for it."""
        ...

    def deliveries(self, seq: int | None = None) -> list[ParkedDelivery]:
        """All, or those of ``seq``, in the order of the log."""
        ...

    def resolve(self, place: Anchor, how: str) -> None:
        """The delivery of that event is parked no more: "redelivered" or "dropped"."""
        ...

    def has(self, place: Anchor) -> bool:
        """Whether that event is parked."""
        ...

    def holds(self, key: Hashable, place: Anchor) -> bool:
        """Whether an event of the key at ``place`` has to queue behind an earlier one that is parked."""
        ...

    def __len__(self) -> int: ...


class MemoryParking:
    """Parking in memory, gone with the process. It holds up no key: nobody could tell after a restart."""

    def __init__(self) -> None:
        """Empty."""
        self._deliveries: dict[Anchor, ParkedDelivery] = {}

    def park(self, delivery: ParkedDelivery) -> int:
        """Set it aside; 1 where the oldest had to go."""
        self._deliveries[delivery.place] = delivery
        if len(self._deliveries) <= PARKED_LIMIT:
            return 0
        del self._deliveries[next(iter(self._deliveries))]
        return 1

    def deliveries(self, seq: int | None = None) -> list[ParkedDelivery]:
        """All, or those of ``seq``, in the order in which they were parked."""
        return [one for place, one in self._deliveries.items() if seq in (None, place.seq)]

    def resolve(self, place: Anchor, how: str) -> None:
        """Forget it."""
        del how
        self._deliveries.pop(place, None)

    def has(self, place: Anchor) -> bool:
        """Whether that event is parked."""
        return place in self._deliveries

    def holds(self, key: Hashable, place: Anchor) -> bool:
        """Never."""
        del key, place
        return False

    def __len__(self) -> int:
        return len(self._deliveries)
