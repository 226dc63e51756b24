"""Bugs in what a durable subscription remembers, to be planted in the processes of the consumers' suite.

Owns the bugs, and what that suite must say of each. A bug replaces a part of the package in the process that plants it, and
nowhere else; the product knows nothing of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aresbus.delivery import cursors
from aresbus.delivery.attempts import Attempts
from aresbus.subscriptions.checkpoints import SubscriptionLog
from aresbus.subscriptions.subscription import Subscription

LOST = "were neither handled nor parked"
NOT_HELD_UP = "parked are the refused, and whatever came behind them in their key"
OUT_OF_ORDER = f"was handled before|{NOT_HELD_UP}|{LOST}"
"""A checkpoint that trusts the order loses what comes late."""


@dataclass(frozen=True)
class Bug:
    """How to plant it, and what the suite says then."""

    plant: Callable[[], None]
    found_as: str


def checkpoint_ahead_of_what_was_taken() -> None:
    """The checkpoint goes by what is durable, whoever has had it."""
    remember = cursors.remember

    def remember_all(subscription: Subscription, frontier: Any) -> None:
        position = Subscription.position
        Subscription.position = lambda self, dispatched: max(position(self, dispatched), frontier.end)
        try:
            remember(subscription, frontier)
        finally:
            Subscription.position = position

    cursors.remember = remember_all


def checkpoint_before_the_park_record() -> None:
    """A delivery is parked in memory, its record is written behind the checkpoint after the next."""
    park, advance = SubscriptionLog.park, SubscriptionLog.advance
    late: list[list[tuple[SubscriptionLog, Any]]] = [[], []]

    def park_late(self: SubscriptionLog, delivery: Any) -> int:
        late[-1].append((self, delivery))
        return 0

    def advance_first(self: SubscriptionLog, anchor: Any) -> None:
        advance(self, anchor)
        for memory, delivery in late.pop(0):
            park(memory, delivery)
        late.append([])

    SubscriptionLog.park, SubscriptionLog.advance = park_late, advance_first


def key_order_ignored() -> None:
    """Nothing queues behind a parked event of its key."""
    SubscriptionLog.holds = lambda self, key, place: False


def keys_forgotten_by_a_restart() -> None:
    """What was parked before a restart holds up nothing after it."""
    recall = SubscriptionLog._recall

    def recall_without_keys(self: SubscriptionLog) -> bool:
        is_all = recall(self)
        self._held.clear()
        self._parked = {place: (own, None) for place, (own, _) in self._parked.items()}
        return is_all

    SubscriptionLog._recall = recall_without_keys


def refused_event_passed() -> None:
    """A delivery that failed for good is not parked."""
    Attempts._park = lambda self, *given, **named: None


def history_out_of_order() -> None:
    """What is read together comes backward, but for the last, by which the reading goes on."""
    batch = cursors.Refiller._batch

    def swapped(self: Any, *given: Any) -> list[Any]:
        events = batch(self, *given)
        return [*reversed(events[:-1]), *events[-1:]]

    cursors.Refiller._batch = swapped


BUGS = {
    "checkpoint-ahead": Bug(checkpoint_ahead_of_what_was_taken, LOST),
    "checkpoint-before-park": Bug(checkpoint_before_the_park_record, LOST),
    "key-order-ignored": Bug(key_order_ignored, NOT_HELD_UP),
    "keys-forgotten": Bug(keys_forgotten_by_a_restart, NOT_HELD_UP),
    "refused-passed": Bug(refused_event_passed, LOST),
    "out-of-order": Bug(history_out_of_order, OUT_OF_ORDER),
}
