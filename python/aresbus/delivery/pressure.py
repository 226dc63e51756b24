"""Publishers that wait because a subscription asked them to ("block").

Owns who waits, in tasks and in threads, and when they go on. Knows neither log nor handler. Invariants: nobody waits but
while the bus delivers; whoever waits is woken when the lag is under its bound, and when delivering ends; a handler
never waits for itself.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial

from aresbus.delivery.frontier import Frontier
from aresbus.delivery.roster import Roster
from aresbus.errors import BusStateError
from aresbus.subscriptions import Subscription

__all__ = ["Pressure", "serving"]

serving: ContextVar[Subscription | None] = ContextVar("aresbus_serving", default=None)
"""The subscription whose turn it is in this context."""


class Pressure:
    """The blocking subscriptions of one bus. From any thread."""

    def __init__(self, roster: Roster, frontier: Frontier, max_history: int) -> None:
        """``roster`` knows who blocks, ``frontier`` how far each lags."""
        self.is_delivering: bool = False
        self._roster, self._frontier, self._max_history = roster, frontier, max_history
        self._waiters: list[Callable[[], object]] = []
        self._changing = threading.Lock()

    def over(self) -> Subscription | None:
        """The first whose lag is over its bound, while the bus delivers."""
        if not self.is_delivering:
            return None
        return next((one for one in self._roster.blocking if self._is_over(one)), None)

    def _is_over(self, one: Subscription, coming: int = 0) -> bool:
        bound = one.terms.max_lag or self._max_history
        return one.is_active and one.halted_for is None and self._frontier.lag(one) + coming > bound

    def refuse_feeding_itself(self) -> None:
        """Raise BusStateError, before anything is appended, where a handler would wait for its own subscription."""
        mine = serving.get()
        if mine is not None and mine in self._roster.blocking and self._is_over(mine, coming=1):
            raise BusStateError(
                f"{mine.name} publishes while its own lag is at its bound: it would wait for itself"
            )

    def held(self, then: Callable[[], Awaitable[str]]) -> Callable[[], Awaitable[str]]:
        """What to await until there is room, and ``then``. A thread without a loop waits here and now."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._wait_in_thread()
            return then
        return partial(self._wait_in_task, then)

    async def _wait_in_task(self, then: Callable[[], Awaitable[str]]) -> str:
        loop = asyncio.get_running_loop()
        while (held := self.over()) is not None:
            held.blocked_count += 1
            go_on = asyncio.Event()
            self._enter(partial(loop.call_soon_threadsafe, go_on.set))
            await go_on.wait()
        return await then()

    def _wait_in_thread(self) -> None:
        while (held := self.over()) is not None:
            held.blocked_count += 1
            go_on = threading.Event()
            self._enter(go_on.set)
            go_on.wait()

    def look(self) -> None:
        """The positions moved: wake who waits, if there is room."""
        if self._waiters and self.over() is None:
            self._go_on()

    def end(self) -> None:
        """Delivering ended: nobody would make room any more."""
        self.is_delivering = False
        self._go_on()

    def _enter(self, go_on: Callable[[], object]) -> None:
        """Wait; and look again, since room may have come before."""
        with self._changing:
            self._waiters.append(go_on)
        self.look()

    def _go_on(self) -> None:
        with self._changing:
            waiters, self._waiters = self._waiters, []
        for go_on in waiters:
            with suppress(RuntimeError):  # its loop was closed: nobody waits there any more
                go_on()
