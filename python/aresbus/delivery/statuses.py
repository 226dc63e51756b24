"""What the bus says of an event once its subscriptions had it: processed, retrying, failed.

Owns the verdicts of those that failed on it so far. Knows no handler. Invariants: an event is processed once one took it
or nobody wanted it, and failed only when everybody who wanted it failed for good; memory is bounded by max_history.
"""

from aresbus._core import Event
from aresbus.delivery.frontier import Frontier
from aresbus.delivery.roster import Roster
from aresbus.events import EventStatus
from aresbus.metrics import Counters
from aresbus.subscriptions import Subscription

__all__ = ["PROCESSED", "Statuses"]

PROCESSED = EventStatus.PROCESSED
"""Looked up once: up to Python 3.11 naming a member costs as much as telling it to the engine."""


class Statuses:
    """The failing events of one bus. On the bus's loop."""

    def __init__(self, counters: Counters, max_history: int, roster: Roster, frontier: Frontier) -> None:
        """``roster`` knows who wants an event, ``frontier`` who had it."""
        self._counters, self._max_history = counters, max_history
        self._roster, self._frontier = roster, frontier
        self.failing: dict[int, dict[Subscription, bool]] = {}
        """Of events that nobody took yet, by seq, who failed on them, and whether for good."""

    def passed(self, event: Event, by: Subscription) -> None:
        """A subscription found that it did not want the event after all, or was told to skip it."""
        seq = event.seq or 0
        if seq in self.failing:
            self.failing[seq].pop(by, None)
            self._judge(event, passing=by)
        elif event._status() is EventStatus.PENDING:  # noqa: SLF001
            others = [one for one in self._roster.wanting(event) if one is not by]
            if all(self._frontier.is_past(one, seq) for one in others):
                event._set_status(PROCESSED)  # noqa: SLF001

    def failed(self, event: Event, by: Subscription, *, is_last: bool) -> None:
        """A subscription failed on it, for good if ``is_last``."""
        if event._status() is PROCESSED:  # noqa: SLF001
            return
        self.failing.setdefault(event.seq or 0, {})[by] = is_last
        self._judge(event)
        while len(self.failing) > self._max_history:
            del self.failing[next(iter(self.failing))]

    def _judge(self, event: Event, passing: Subscription | None = None) -> None:
        seq = event.seq or 0
        verdicts = self.failing[seq]
        wanting = [one for one in self._roster.wanting(event) if one is not passing]
        if not all(one in verdicts or self._frontier.is_past(one, seq) for one in wanting):
            return
        is_failed = bool(verdicts) and all(verdicts.values())
        if verdicts:
            event._set_status(EventStatus.FAILED if is_failed else EventStatus.RETRYING)  # noqa: SLF001
        else:
            event._set_status(PROCESSED)  # noqa: SLF001
        if is_failed:
            self._counters.events_failed += 1
        if is_failed or not verdicts:
            del self.failing[seq]

    def clear(self) -> None:
        """Forget all, for another log."""
        self.failing.clear()
