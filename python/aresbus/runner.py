"""The life of one `run()`: tasks, wake-ups, housekeeping, and an orderly end.

Owns every task and thread of a running bus. What an event means is delivery's. Invariants: one task per
subscription that has work, so that none waits for another; everything started here has ended, or was reported,
when `run` returns; a handler that ignores its cancellation cannot hold up the end.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from aresbus._core import Log
from aresbus.delivery import Delivery
from aresbus.errors import CorruptionError, HandlerError, LogClosedError
from aresbus.housekeeping import Housekeeping
from aresbus.places import end_of
from aresbus.subscriptions import Subscription
from aresbus.watch import HoldWatcher, ReaderWatcher, Waker

__all__ = ["Runner"]

DISPATCH_AT_ONCE = 1_000
"""Events handed out before the loop gets its turn: under a millisecond."""
GRACE_SECONDS = 1.0
"""How long a cancelled handler may take to end; then it is left behind, and reported."""
LOOK_SECONDS = 0.001
REST_FACTOR = 9


class Runner:
    """Delivers on the loop it was made on, until it is told to end."""

    def __init__(
        self,
        delivery: Delivery,
        house: Housekeeping,
        log: Log,
        go_back: Callable[[CorruptionError], Awaitable[Log]],
    ) -> None:
        """Deliver what is in ``log``; ``house`` is kept every processing_interval, and whenever something is due.

        ``go_back`` opens a log again that cannot be read on because a later writer has cut it, or raises.
        """
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.held_for: tuple[float, str] | None = None
        """While the loop is held: for how long when it was noticed, and the handler that was entered last."""
        self._delivery, self._house, self._log = delivery, house, log
        self._go_back = go_back
        self._waker = Waker(self.loop)
        delivery.pressure.is_delivering = True
        self._serving: dict[asyncio.Task[None], Subscription] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._is_closing = False
        """No turn begins any more."""
        self._is_ending = False
        self._ender: asyncio.Task[Any] | None = None
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Deliver until :meth:`end`. Raises what made delivery impossible: damage, a closed log."""
        log, delivery = self._log, self._delivery
        watcher = HoldWatcher(self.loop, self._tell_hold)
        reader = ReaderWatcher(log, self._waker) if log.mode == "r" else None
        if reader is None:
            log._on_commit(self._waker)  # noqa: SLF001 - made for this line
        house = self._start(self._housekeeping())
        delivery.on_wake = self._waker
        delivery.inline.begin()
        try:
            for one in delivery.roster.all():
                if one.has_work:
                    delivery.wake(one)
            while not self._is_ending:
                self._waker.clear()
                try:
                    has_more = delivery.dispatch(DISPATCH_AT_ONCE)
                    if self._failure is not None:
                        raise self._failure
                except CorruptionError as error:
                    self._log, self._failure = await self._go_back(error), None
                    if reader is not None:
                        await asyncio.shield(asyncio.to_thread(reader.stop))
                    reader, has_more = ReaderWatcher(self._log, self._waker), True
                self._serve_woken()
                self._keep_house_if_due()
                if has_more:
                    await asyncio.sleep(0)
                else:
                    await self._waker.wait()
        finally:
            house.cancel()
            watcher.stop()
            await self._close(reader)

    async def _close(self, reader: ReaderWatcher | None) -> None:
        self._is_closing = True
        self._delivery.on_wake = None
        self._delivery.inline.end()
        self._delivery.pressure.end()
        try:
            if reader is not None:
                await asyncio.shield(asyncio.to_thread(reader.stop))
            elif not self._log.is_closed:
                self._log._on_commit(None)  # noqa: SLF001 - made for this line
            await self._cancel((set(self._serving) | self._others) - {self._ender})
        finally:
            # Also where a second cancellation cut this short: somebody may wait for the end.
            self._delivery.requests.give_up()
            self._ended.set()

    async def settle(self, timeout: float) -> bool:  # noqa: ASYNC109 - it answers, it does not raise
        """Let everything that is appended now be delivered, for at most ``timeout`` seconds; whether it was."""
        delivery, deadline = self._delivery, time.monotonic() + timeout
        try:
            target = end_of(self._log)
        except (CorruptionError, LogClosedError):
            return False  # the run met it too, and tells it
        me = asyncio.current_task()
        while not self._ended.is_set() and self._failure is None:
            others = (one for one in delivery.roster.all() if one.halted_for is None)
            waiting = [one for one in others if one.task is None or one.task is not me]
            positions = [one.position(delivery.frontier.dispatched) for one in waiting]
            if min([delivery.frontier.dispatched, *positions]) >= target:
                return True
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def end(self) -> None:
        """Cancel what is left, report each handler that was in the middle of a delivery, and end the run."""
        self._is_closing = True
        self._delivery.inline.end()
        hanging = {task: one for task, one in self._serving.items() if task is not asyncio.current_task()}
        for subscription in hanging.values():
            self._report_cancelled(subscription)
        await self._cancel(set(hanging))
        # A handler that stops the bus is itself being served: it lives on until it returns.
        self._ender = asyncio.current_task()
        self._is_ending = True
        self._waker()
        if self._ender not in self._serving:
            await self._ended.wait()

    def wake(self) -> None:
        """Look for work. From any thread."""
        self._waker()

    def _serve_woken(self) -> None:
        if self._is_closing:
            return
        for subscription in self._delivery.take_woken():
            if subscription.task is None and subscription.has_work:
                task = self.loop.create_task(self._serve(subscription), name=f"aresbus {subscription.name}")
                subscription.task = task
                self._serving[task] = subscription
                task.add_done_callback(self._forget)

    async def _serve(self, subscription: Subscription) -> None:
        delivery, batch_size = self._delivery, self._delivery.config.batch_size
        # Busy without us it is in the turn of a pass beside the run, which wakes us when it is over.
        while subscription.has_work and subscription.busy_since is None and not self._is_closing:
            await delivery.drain(subscription, batch_size)
            self._keep_house_if_due()
            if subscription.has_work:
                await asyncio.sleep(0)

    def _forget(self, task: asyncio.Task[None]) -> None:
        subscription = self._serving.pop(task)
        subscription.task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # No handler's error gets here: the log could not be read, so nobody can go on.
            self._failure = error
            self._waker()
        elif subscription.has_work and subscription.busy_since is None:
            # Also of a run that ended: a handler that outlived it is done, and the next run may wait for it.
            self._delivery.wake(subscription)

    def _start(self, act: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(act)
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        return task

    def _keep_house_if_due(self) -> None:
        if self._house.is_due and self._keeping is None and not self._is_ending:
            self._keeping = self._start(self._keep_house_and_rest())

    async def _keep_house_and_rest(self) -> None:
        """One pass, then a rest nine times as long: snapshots, which sync, take a tenth of the time at most."""
        began = time.monotonic()
        try:
            await self._house.keep()
            await asyncio.sleep(REST_FACTOR * (time.monotonic() - began))
        finally:
            self._keeping = None
        self._waker()

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(self._delivery.config.processing_interval)
            await self._house.keep()

    async def _cancel(self, tasks: Iterable[asyncio.Task[Any] | None]) -> None:
        others = {task for task in tasks if task is not None and task is not asyncio.current_task()}
        for task in others:
            task.cancel()
        if not others:
            return
        _, stubborn = await asyncio.wait(others, timeout=GRACE_SECONDS)
        for task in stubborn:
            self._delivery.troubles.report(
                "stubborn", f"{task.get_name()} ignores its cancellation; left behind"
            )

    def _report_cancelled(self, subscription: Subscription) -> None:
        event = subscription.current
        if subscription.busy_since is None or event is None:
            return
        error = HandlerError(
            f"{subscription.name} was still busy with {event!r} when the bus stopped; it was cancelled",
            handler=subscription.name,
            seq=event.seq,
            event_id=event.event_id,
        )
        self._delivery.troubles.report(f"hanging {subscription.name}", str(error), error)

    def _tell_hold(self, seconds: float, is_over: bool) -> None:  # noqa: FBT001 - the watcher's call
        suspect = self._delivery.frontier.entered
        name = suspect.name if isinstance(suspect, Subscription) else "no handler"
        troubles = self._delivery.troubles
        if is_over:
            self.held_for = None
            troubles.report("hold over", f"the loop turns again after {seconds:.1f} s; last entered: {name}")
        else:
            self.held_for = (seconds, name)
            self._delivery.counters.loop_holds += 1
            troubles.report("hold", f"the loop is held for {seconds:.1f} s; handler entered last: {name}")
