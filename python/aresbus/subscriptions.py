"""A subscription: a cursor on the log, the callback it feeds, and what became of its deliveries.

Owns the cursor's state and the deliveries parked in memory. How events get to it is delivery's business. Invariants:
a cursor never passes an event that was neither taken nor parked; what waits in memory is bounded by max_history,
whatever the lag.
"""

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinMethodType, MethodType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from aresbus._core import Event
from aresbus._typing import override
from aresbus.errors import HandlerError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

__all__ = ["Callback", "ParkedDelivery", "Subscription"]

Callback: TypeAlias = Callable[[Event], Any]
"""Takes the event; what it returns is awaited if it can be, and otherwise ignored."""

PARKED_LIMIT = 10_000
"""Parked deliveries kept per subscription; beyond it the oldest go, counted and logged. About 10 MB of trades."""


@dataclass(frozen=True, slots=True)
class ParkedDelivery:
    """A delivery set aside after its last retry: the event, how often it was tried, and why it failed."""

    event: Event
    attempts: int
    error: HandlerError


class Cancels(Protocol):
    """Whoever can end a subscription."""

    def remove(self, subscription: "Subscription") -> None:
        """End it: no further delivery begins."""


class Subscription:
    """One callback on one event type, with a cursor of its own. Made by ``bus.subscribe``; used on the bus's loop."""

    def __init__(self, event_type: str, callback: Callback, next_seq: int, owner: Cancels) -> None:
        """Deliver events of the type from ``next_seq`` on."""
        self.event_type = event_type
        """The type it is subscribed to."""
        self.callback = callback
        """What gets the events."""
        self.name: str = getattr(callback, "__qualname__", None) or repr(callback)
        """Name of the callback, for reports."""
        self.parked: deque[ParkedDelivery] = deque(maxlen=PARKED_LIMIT)
        """Deliveries that failed on every try, oldest first. In memory: gone with the process."""
        self.is_active: bool = True
        """False once it is unsubscribed; no further delivery begins then."""
        self.delivered_count = 0
        self.retried_count = 0
        self.parked_count: int = 0
        self.next_seq = next_seq
        self.is_behind = False
        self.is_busy = False
        self.pending: deque[Event] = deque()
        self.reader: Iterator[Event] | None = None
        self.task: asyncio.Task[None] | None = None
        self._owner = weakref.ref(owner)

    def unsubscribe(self) -> None:
        """End the subscription. A delivery under way finishes, no further one begins. Idempotent."""
        owner = self._owner()
        if owner is None:
            self.is_active = False
        else:
            owner.remove(self)

    def position(self, dispatched: int) -> int:
        """The first seq it may still have to take, where everything before ``dispatched`` was handed out."""
        if self.pending:
            return self.pending[0].seq or 0
        return self.next_seq if self.is_behind else max(dispatched, self.next_seq)

    @property
    def has_work(self) -> bool:
        """Whether there is, or may be, an event to take."""
        return bool(self.pending) or self.is_behind

    def park(self, event: Event, attempts: int, error: HandlerError) -> None:
        """Set a delivery aside."""
        self.parked.append(ParkedDelivery(event, attempts, error))
        self.parked_count += 1

    @override
    def __repr__(self) -> str:
        state = "active" if self.is_active else "ended"
        return f"<Subscription {self.event_type} -> {self.name}, {state}>"


def is_same_callback(one: Callback, other: Callback) -> bool:
    """Whether both are one object, or the same method of one object: each access makes a new method.

    Not equality at large: two callable lists are equal when both are empty.
    """
    return one is other or (isinstance(one, MethodType | BuiltinMethodType) and one == other)
