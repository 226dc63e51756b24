"""The events that wait for a subscription in memory, and what becomes of them when they are too many.

Owns the three shapes of a bounded queue: one that refuses, one that drops the oldest, one that keeps the newest of each
key. Knows neither log nor handler. Invariants: at most ``bound`` events wait; they leave in the order of the log;
an event that is being taken is no longer here, so nothing can replace it under its handler.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol

from aresbus._core import Event
from aresbus._typing import override

__all__ = ["Conflated", "DropOldest", "Refusing", "Waiting"]


class Waiting(Protocol):
    """Events that wait, oldest first."""

    dropped_count: int
    """Events that were let go untaken."""

    def add(self, event: Event) -> bool:
        """Let the event wait; False where there is no room and none is made."""
        ...

    def first(self) -> Event | None:
        """The oldest. From any thread."""
        ...

    def take(self) -> Event | None:
        """The oldest, which waits no longer."""
        ...

    def clear(self) -> None:
        """Let all go, uncounted."""
        ...

    def let_go_from(self, seq: int) -> None:
        """Let go what is at ``seq`` or behind it, uncounted: the log has lost it."""
        ...

    def __len__(self) -> int: ...


class Refusing:
    """Takes up to ``bound``; what comes then has to be read from the log."""

    __slots__ = ("_bound", "_events", "dropped_count")

    def __init__(self, bound: int) -> None:
        """Empty."""
        self._bound, self._events = bound, deque[Event]()
        self.dropped_count: int = 0

    def add(self, event: Event) -> bool:
        """Let the event wait, if there is room."""
        if len(self._events) >= self._bound:
            return False
        self._events.append(event)
        return True

    def first(self) -> Event | None:
        """The oldest."""
        try:
            return self._events[0]
        except IndexError:
            return None

    def take(self) -> Event | None:
        """The oldest, which waits no longer."""
        return self._events.popleft() if self._events else None

    def clear(self) -> None:
        """Let all go."""
        self._events.clear()

    def let_go_from(self, seq: int) -> None:
        """Let the newest go."""
        while self._events and (self._events[-1].seq or 0) >= seq:
            self._events.pop()

    def __len__(self) -> int:
        return len(self._events)

    def _drop_oldest(self) -> None:
        self._events.popleft()
        self.dropped_count += 1


class DropOldest(Refusing):
    """Makes room by letting the oldest go, counted."""

    __slots__ = ()

    @override
    def add(self, event: Event) -> bool:
        """Let the event wait, in the place of the oldest if need be."""
        if len(self._events) >= self._bound:
            self._drop_oldest()
        self._events.append(event)
        return True


class Conflated:
    """Keeps the newest event of each key: an older one that still waits is let go, counted."""

    __slots__ = ("_bound", "_events", "_key", "dropped_count")

    def __init__(self, bound: int, key: Callable[[Event], Hashable]) -> None:
        """Empty. An event whose key is None, or whose key cannot be told, waits by itself."""
        self._bound, self._key = bound, key
        self._events: dict[Hashable, Event] = {}
        self.dropped_count: int = 0

    def add(self, event: Event) -> bool:
        """Let the event wait, behind all others, in the place of the one with its key."""
        try:
            key = self._key(event)
            if key is None:
                key = object()
            elif key in self._events:  # raises where it cannot be hashed, which a pop from nothing does not
                del self._events[key]
                self.dropped_count += 1
        except Exception:  # noqa: BLE001 - the user's code, in a place where nobody could try again
            key = object()
        if len(self._events) >= self._bound:
            del self._events[next(iter(self._events))]
            self.dropped_count += 1
        self._events[key] = event
        return True

    def first(self) -> Event | None:
        """The oldest. From any thread."""
        while True:
            try:
                return next(iter(self._events.values()), None)
            except (
                RuntimeError
            ):  # it changed under the iterator; to find none would be to call all of them taken
                continue

    def take(self) -> Event | None:
        """The oldest, which waits no longer."""
        return self._events.pop(next(iter(self._events))) if self._events else None

    def clear(self) -> None:
        """Let all go."""
        self._events.clear()

    def let_go_from(self, seq: int) -> None:
        """Let the newest go."""
        self._events = {key: event for key, event in self._events.items() if (event.seq or 0) < seq}

    def __len__(self) -> int:
        return len(self._events)
