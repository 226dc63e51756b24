"""Delivery inside a publish: the callback runs before the publisher goes on, where that keeps the order.

Owns when that is so, and whose events are handed out meanwhile. The short way of an event, which nobody but its callbacks has to
do with, is the engine's (`Outlet`); this is the long one. What an event means to a subscription is attempts', who wants it
the roster's. Invariants: on the thread of the bus's loop alone; a subscription gets events one at a time and in the
order of the log, so an event published by an inline callback is handed out once that callback has returned; at most
``batch_size`` events are handed out in one publish, the loop does the rest; whatever may keep a subscription from having the
next event at once ends the short way (`forget_ready`), and only the long way begins it.
"""

import asyncio
import time
from contextvars import copy_context
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from aresbus._core import Event
from aresbus.delivery.attempts import is_plain
from aresbus.errors import AresbusError
from aresbus.subscriptions import Subscription
from aresbus.subscriptions.subscription import Verdict
from aresbus.troubles import described

if TYPE_CHECKING:
    from aresbus.delivery import Delivery
    from aresbus.delivery.attempts import Attempts
    from aresbus.delivery.frontier import Frontier
    from aresbus.delivery.roster import Roster

__all__ = ["Inline"]


class Inline:
    """The inline subscriptions of one bus at work. On the bus's loop, but for :meth:`hand_out`, which looks."""

    def __init__(self, attempts: "Attempts", frontier: "Frontier") -> None:
        """Of a bus that does not run yet. It is told whose delivery it is: referring back to it would keep a dropped bus alive."""
        self._attempts, self._frontier = attempts, frontier
        self._interrupt: BaseException | None = None

    def begin(self) -> None:
        """The bus delivers from now on, on the loop of this thread."""
        self.forget_ready()
        self._frontier.thread = get_ident()

    def end(self) -> None:
        """It delivers no more. Idempotent."""
        self._frontier.thread = None
        self.forget_ready()

    def look_who_is_there(self, roster: "Roster") -> None:
        """Somebody came or went."""
        self._frontier.has_inline = bool(roster.inline)
        self.forget_ready()

    def forget_ready(self) -> None:
        """Somebody has work, came or went: the next event of each type goes the long way."""
        self._frontier.ready.clear()

    def hand_out(self, delivery: "Delivery", event: Event) -> None:
        """From a publish, which has appended and held ``event``. On another thread than the loop's it does nothing.

        Raises what no callback may keep: an interrupt, an exit.
        """
        frontier = self._frontier
        if frontier.thread != get_ident():
            return
        frontier.has_more = True
        if frontier.is_on:
            return  # from within a callback: whoever called that hands out this event too
        left = delivery.config.batch_size
        frontier.is_on = True
        try:
            for subscription, result, error in frontier.take_unsettled():
                self._settle(delivery, cast("Subscription", subscription), result, error)
            if frontier.dispatched == event.seq:
                frontier.has_more, left = False, left - 1
                delivery.route(event)
                self._note_ready(delivery, event)
            while frontier.has_more and left > 0:
                before, frontier.has_more = frontier.dispatched, False
                is_more = delivery.dispatch(left)
                frontier.has_more = frontier.has_more or is_more  # callbacks may have set it meanwhile
                left -= max(1, frontier.dispatched - before)
        except (AresbusError, OSError):
            pass  # older events cannot be read: the loop comes to the same place, and tells it
        finally:
            frontier.is_on = frontier.has_more = False
        if self._interrupt is not None:
            interrupt, self._interrupt = self._interrupt, None
            raise interrupt

    def takes(self, delivery: "Delivery", subscription: Subscription, event: Event) -> bool:
        """Let the subscription have the event at once; False where it is not the next that it can take.

        Where the callback fails the event stays in hand, for the subscription's own turn.
        """
        if not _is_free(subscription) or not is_plain(subscription, event):
            return False
        subscription.busy_since, subscription.current = time.monotonic(), event
        self._frontier.entered = subscription
        result, error = None, None
        try:
            # In a context of its own: what speaks for the event, and whatever the callback sets, is gone behind it.
            result = copy_context().run(self._attempts.call_plainly, subscription, event)
        except BaseException as raised:  # noqa: BLE001 - judged, or raised once everybody else has the event
            error = raised
        self._settle(delivery, subscription, result, error)
        return True

    def _settle(
        self, delivery: "Delivery", subscription: Subscription, result: object, error: BaseException | None
    ) -> None:
        """What came of a callback: the event was taken, or stays in hand."""
        event, said = subscription.current, subscription.end_judging()
        if result is not None and hasattr(type(result), "__await__"):
            said = _refused(result)
        if isinstance(error, Exception | asyncio.CancelledError):
            subscription.last_error = error
            said = Verdict("retry", described(error))
        elif error is not None:
            self._interrupt = error
        if said is None and error is None and event is not None:
            self._attempts.take(subscription, event)
            subscription.current = None
        else:
            subscription.begun = said
            delivery.wake(subscription)
        subscription.busy_since = None
        if not subscription.is_active:
            delivery.let_go(subscription)

    def _note_ready(self, delivery: "Delivery", event: Event) -> None:
        """The next event of this type may go the short way, if everybody who wants it could have it at once."""
        matching: tuple[Any, ...] = delivery.roster.matching(event.event_type)
        for one in matching:
            is_ready = one.is_inline and not one.is_narrow and _is_free(one) and not one.is_behind
            if not is_ready or not is_plain(one, event) or (event.seq or 0) < one.next_seq:
                return
        self._frontier.ready[event.event_type] = tuple((one, one.callback) for one in matching)
        # ORDER: looked at once more, now that whoever comes or goes in another thread finds the entry and takes it out.
        if delivery.roster.matching(event.event_type) is not matching:
            self.forget_ready()


def _is_free(subscription: Subscription) -> bool:
    """Whether it has nothing in hand and nothing to do."""
    is_free = subscription.busy_since is None and subscription.halted_for is None
    return is_free and subscription.is_active and not subscription.has_work


def _refused(result: object) -> Verdict:
    """Of a callback that would have to be awaited."""
    if (close := getattr(result, "close", None)) is not None:
        close()
    return Verdict("park", f"an inline callback returned {result!r}, and nothing awaits there")
