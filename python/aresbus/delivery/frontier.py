"""How far a bus has handed out its log, and what that means for a subscription's place.

Owns the position of the bus, and the newest events as the one object each that stands for them in this process. Knows no
handler. Invariant: at most ``max_history`` events are held, whatever lags.
"""

from aresbus._core import Event, Log
from aresbus.places import end_of, event_at
from aresbus.subscriptions import Subscription

__all__ = ["Frontier", "newest_epoch"]


class Frontier:
    """Where one bus stands in its log. On the bus's loop, unless it says otherwise."""

    def __init__(self, max_history: int) -> None:
        """Before any log."""
        self.log: Log | None = None
        self.dispatched: int = 0
        """Everything before this seq was handed out to subscriptions."""
        self.newest: Event | None = None
        """Of a log that another process writes the last event that was handed out, or stood at its end at the beginning."""
        self.epoch: int = 0
        """The newest epoch of the log when it was opened."""
        self._max_history = max_history
        self._recent: dict[int, Event] = {}

    def attach(self, log: Log) -> None:
        """Stand at the end of ``log``, with no event held."""
        self.log = log
        self.dispatched = self.end
        self.epoch = newest_epoch(log)
        if log.mode == "r":
            self.newest = event_at(log, self.dispatched - 1)
        self._recent.clear()

    def go_back(self, log: Log, cut: int) -> None:
        """Stand in ``log``, the same one opened again, before ``cut`` at most, and hold nothing that lies behind it."""
        self.log, self.epoch = log, newest_epoch(log)
        self.dispatched = min(self.dispatched, cut)
        self._recent = {slot: event for slot, event in self._recent.items() if (event.seq or 0) < cut}
        self.newest = event_at(log, self.dispatched - 1)

    @property
    def end(self) -> int:
        """The position behind the newest event; 0 without an open log. From any thread."""
        log = self.log
        return 0 if log is None or log.is_closed else end_of(log)

    def lag(self, subscription: Subscription) -> int:
        """How many positions the subscription is behind the end of the log. From any thread."""
        return max(0, self.end - subscription.position(self.dispatched))

    def is_past(self, subscription: Subscription, seq: int) -> bool:
        """Whether the subscription has nothing more to do with the event at ``seq``."""
        return subscription.position(self.dispatched) > seq

    # The newest events

    def hold(self, event: Event) -> None:
        """Hold a live event. From any thread."""
        self._recent[(event.seq or 0) % self._max_history] = event

    def held(self, seq: int) -> Event | None:
        """The event at ``seq``, if it is held."""
        event = self._recent.get(seq % self._max_history)
        return event if event is not None and event.seq == seq else None

    def shared(self, event: Event) -> Event:
        """The one object that stands for the event, if it is among the newest."""
        seq = event.seq or 0
        slot = seq % self._max_history
        known = self._recent.get(slot)
        if known is not None and (known.seq or 0) >= seq:
            return known if known.seq == seq else event
        self._recent[slot] = event
        return event

    def recent(self) -> list[Event]:
        """The newest events held, oldest first."""
        return sorted(self._recent.values(), key=lambda event: event.seq or 0)


def newest_epoch(log: Log) -> int:
    """The newest epoch of which the log has a segment."""
    return max((one["epoch"] for one in log.stats()["segments"]), default=0)
