"""Who waits for parked deliveries to be tried again.

Owns the requests that nobody has answered yet. Knows neither log nor handler. Invariant: whoever waits hears an outcome, or that
delivering ended first.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aresbus.delivery.pressure import serving
from aresbus.errors import BusStateError
from aresbus.subscriptions import ParkedDelivery, Subscription
from aresbus.subscriptions.subscription import Redelivery

__all__ = ["Requests"]


class Requests:
    """The open requests of one bus. On the loops of those who wait."""

    def __init__(self) -> None:
        """None."""
        self._awaited: list[Redelivery] = []

    @contextmanager
    def made(
        self, subscription: Subscription, deliveries: list[ParkedDelivery]
    ) -> "Iterator[asyncio.Future[tuple[int, int]]]":
        """Ask the subscription to try ``deliveries``; yields what to await for how many were taken, and how many not.

        Raises BusStateError while it is halted, once it ended, and from within its own handler.
        """
        if not subscription.is_active:
            raise BusStateError(f"{subscription.name} has ended; it gets nothing more")
        if subscription.halted_for is not None:
            raise BusStateError(f"{subscription.name} is halted; resume() it first")
        if serving.get() is subscription:
            raise BusStateError("a handler cannot wait for its own parked deliveries; do it from outside")
        outcome: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        request = Redelivery(deliveries, outcome)
        self._awaited.append(request)
        subscription.requests.append(request)
        try:
            yield outcome
        finally:
            self._awaited.remove(request)

    def give_up(self) -> None:
        """Delivering ended: nobody would try parked deliveries again."""
        for request in self._awaited:
            request.refuse("the bus stopped before it came to the parked deliveries")
