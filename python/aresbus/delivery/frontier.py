"""How far a bus has handed out its log, and what that means for a subscription's place.

Owns the position of the bus. The newest events, as the one object each that stands for them in this process, are held by the
engine's `Outlet`, which also hands out what needs nobody's turn. Invariant: at most ``max_history`` events are held,
whatever lags.
"""

from collections.abc import Callable
from typing import Self

from aresbus._core import Event, Log, Outlet
from aresbus.config import BusConfig
from aresbus.correlation import handled_event
from aresbus.errors import LogClosedError
from aresbus.events import EventStatus
from aresbus.metrics import Counters
from aresbus.places import end_of, event_at
from aresbus.schema import EventVersionManager
from aresbus.subscriptions import Subscription

__all__ = ["Frontier", "newest_epoch"]


class Frontier(Outlet):
    """Where one bus stands in its log. On the bus's loop, unless it says otherwise."""

    def __new__(
        cls,
        config: BusConfig,
        counters: Counters,
        observe: Callable[[int, Event], bool] | None,
        versions: EventVersionManager,
    ) -> Self:
        """Before any log. ``observe``, if any, sees each event once as it is handed out, and says whether housekeeping may be due."""
        return super().__new__(
            cls,
            config.max_history,
            tally=counters,
            latency=counters.latency if config.metrics_enabled else None,
            observe=observe,
            settled=versions.settled,
            processed=EventStatus.PROCESSED,
            handled_event=handled_event,
        )

    def __init__(self, *_: object) -> None:
        self.log: Log | None = None
        self.newest: Event | None = None
        """Of a log that another process writes the last event that was handed out, or stood at its end at the beginning."""
        self.epoch: int = 0
        """The newest epoch of the log when it was opened."""

    def attach(self, log: Log) -> None:
        """Stand at the end of ``log``, with no event held."""
        self.log = log
        self.dispatched = self.end
        self.epoch = newest_epoch(log)
        if log.mode == "r":
            self.newest = event_at(log, self.dispatched - 1)
        self.forget_from(0)

    def go_back(self, log: Log, cut: int) -> None:
        """Stand in ``log``, the same one opened again, before ``cut`` at most, and hold nothing that lies behind it."""
        self.log, self.epoch = log, newest_epoch(log)
        self.dispatched = min(self.dispatched, cut)
        self.forget_from(cut)
        self.newest = event_at(log, self.dispatched - 1)

    @property
    def end(self) -> int:
        """The position behind the newest event; 0 without an open log. From any thread."""
        log = self.log
        try:
            return 0 if log is None else end_of(log)
        except LogClosedError:  # who asked first whether it is open could be told too late
            return 0

    def lag(self, subscription: Subscription) -> int:
        """How many positions the subscription is behind the end of the log. From any thread."""
        return max(0, self.end - subscription.position(self.dispatched))

    def is_past(self, subscription: Subscription, seq: int) -> bool:
        """Whether the subscription has nothing more to do with the event at ``seq``."""
        return subscription.position(self.dispatched) > seq


def newest_epoch(log: Log) -> int:
    """The newest epoch of which the log has a segment."""
    return max((one["epoch"] for one in log.stats()["segments"]), default=0)
