"""The life of a bus: opened, running, stopped, opened again.

Owns the open log, the run, and their orderly end. What runs is the runner's, what is delivered delivery's. Invariants: no
log is opened before it is asked for, and none that is not on record; whatever ends it, a bus releases lock and threads;
after stop nothing opens the log again but `initialize` and `async with`.
"""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from aresbus.config import NOT_YET
from aresbus.errors import AresbusError, BusStateError, CorruptionError, LogClosedError
from aresbus.log import Log
from aresbus.readings import ReadableBus
from aresbus.runner import DISPATCH_AT_ONCE, Runner
from aresbus.schema.catalogue import Catalogue, recorder_of
from aresbus.store import waits_for_disk

__all__ = ["LivingBus"]

logger: logging.Logger = logging.getLogger(__name__)


class LivingBus(ReadableBus):
    """A bus that can be opened, run and stopped. Users make an EnhancedEventBus."""

    async def initialize(self) -> bool:
        """Open the log, also again after :meth:`stop`, and warn of configuration keys without effect yet.

        True once it is open. False if it could not be, the typed error logged and kept; a strict bus raises it.
        """
        try:
            await self._opened(again=True)
        except (AresbusError, OSError) as error:
            self._troubles.report("initialize", f"the bus cannot start: {error}", error)
            if self._strict:
                raise
            return False
        return True

    def run(self) -> Coroutine[Any, Any, None]:
        """Deliver until :meth:`stop`, on this loop; opens the log if need be. Returns at once where stop came before its first step.

        Raises BusStateError if the bus runs already, on this loop or another, and what makes delivery impossible:
        CorruptionError, LogClosedError. Cancelling it cancels running handlers; their deliveries count as not made.
        """
        # ORDER: asked at the call. A task made of it takes its first step later, and a stop may come between.
        return self._run(self._stop_count)

    async def _run(self, stop_count: int) -> None:
        if stop_count != self._stop_count:
            return
        if self._runner is not None or self._is_starting:
            raise BusStateError("the bus is running already")
        self._is_starting = True
        try:
            log = await self._opened()
        except LogClosedError:
            if stop_count == self._stop_count:
                raise
            return
        finally:
            self._is_starting = False
        if stop_count == self._stop_count:
            await self._deliver(self._begin(log))

    def _begin(self, log: Log) -> Runner:
        self._runner = Runner(self._delivery, self._house, log, self._go_back)
        return self._runner

    async def _deliver(self, runner: Runner) -> None:
        try:
            await runner.run()
        except Exception as error:
            self._troubles.report("run", f"the bus ends: {error}", error)
            raise
        finally:
            self._runner = None

    async def stop(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - fixed by the contract
        """Deliver what is appended, for at most ``timeout`` seconds; cancel and report what still runs; close the log.

        A last "system" snapshot is made. Everything is durable on return. Idempotent; also works after :meth:`run`
        was cancelled, and from a handler. Raises BusStateError on another loop than that of :meth:`run`, and
        what closing raises: LogPoisonedError, StorageError.
        """
        runner = self._runner
        if runner is not None:
            if runner.loop is not asyncio.get_running_loop():
                raise BusStateError("the bus runs on another event loop")
            await runner.settle(timeout)
            await runner.end()
        self._delivery.pressure.end()  # also of a run that was cancelled before its first step
        # ORDER: first, or a publish from another thread would open the log again.
        self._is_stopped, self._stop_count = True, self._stop_count + 1
        log, self._log = self._log, None
        try:
            if log is not None and not log.is_closed:
                await self._house.finish()
        finally:
            # Whatever failed, the lock is released.
            await asyncio.to_thread(self._close)
            self._delivery.requests.give_up()

    def _close(self) -> None:
        with self._opening:  # of an opening that was under way too: it may have ended since
            self._is_stopped, self._log = True, None
            try:
                self._delivery.detach()
            finally:
                self._log_store.close()

    async def __aenter__(self) -> Self:
        log = await self._opened(again=True)
        if self._runner is not None or self._is_starting:
            raise BusStateError("the bus is running already")
        self._background = asyncio.create_task(self._deliver(self._begin(log)), name="aresbus run")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        background, self._background = self._background, None
        try:
            await self.stop()
        except BaseException:
            # An end that was cut short, by a cancellation or a failing disk, must not wait for one that never comes.
            if background is not None:
                background.cancel()
            raise
        finally:
            if background is not None:
                await asyncio.wait([background])
        if background is not None and kind is None and not background.cancelled():
            background.result()

    @property
    def log(self) -> Log:
        """The log, opened if need be, which blocks for the disk; LogClosedError after :meth:`stop`."""
        return self._log or self._open()

    async def _opened(self, *, again: bool = False) -> Log:
        log = self._log
        return await asyncio.to_thread(self._open, again=again) if log is None or log.is_closed else log

    def _open(self, *, again: bool = False) -> Log:
        """The open log; ``again``: also after stop. Blocks for the disk at the first use."""
        with self._opening:
            if self._log is not None and not self._log.is_closed:
                return self._log
            if self._is_stopped and not again:
                raise LogClosedError("the bus was stopped")
            if self._log is not None and not again:
                raise LogClosedError("the log of this bus was closed, or opened before a fork")
            log = self._open_on_record()
            # ORDER: before the log, with which a publish in another thread begins.
            self._waits = waits_for_disk(log)
            self._log, self._is_stopped = log, False
        if NOT_YET:
            unfinished = "; ".join(f"{key}: {why}" for key, why in sorted(NOT_YET.items()))
            logger.warning("configuration keys without effect yet: %s", unfinished)
        return log

    def _open_on_record(self) -> Log:
        store = self._log_store
        was_open = store.is_open
        log = store.open()
        try:
            if log.audit_trail is not None:
                with log.audit_trail.act("bus.configure", self.config.to_dict()):
                    pass
            if log.mode == "rw":
                Catalogue(log, self.clock).record(self.version_manager)
                self.version_manager.recorder = recorder_of(log, self.clock)
            self._delivery.attach(log)
            self._house.attached()
        except BaseException:
            self._delivery.detach()
            if not was_open:
                store.close()
            raise
        return log

    async def _go_back(self, error: CorruptionError) -> Log:
        """The log opened again where a later writer recovered it, subscriptions rewound; otherwise raises ``error``."""
        old = self._log
        if old is None or self._mode != "r":
            raise error
        log = await asyncio.to_thread(self._log_store.open_again)
        if self._is_stopped or not self._delivery.go_back(log):
            log.close()
            raise error
        self._log_store.exchange(log)
        self._log = log
        self._troubles.report("cut", f"the log was recovered beside this reader: {error.message}", error)
        old.close()
        return log

    async def process_pending(self) -> int:
        """One delivery pass, for tests and scripts that do not :meth:`run`; how many deliveries were made.

        Each subscription takes at most ``batch_size`` events; ``bus.event_queue.empty()`` says whether more wait.
        Raises BusStateError while the bus runs on another loop.
        """
        runner = self._runner
        if runner is not None and runner.loop is not asyncio.get_running_loop():
            raise BusStateError("the bus runs on another event loop")
        await self._opened()
        delivery = self._delivery
        has_more = True
        while has_more:
            try:
                has_more = delivery.dispatch(DISPATCH_AT_ONCE)
            except CorruptionError as error:
                await self._go_back(error)
            if has_more:
                await asyncio.sleep(0)
        delivery.take_woken()
        ready = [one for one in delivery.roster.all() if one.has_work]
        if not ready:
            await asyncio.sleep(0)  # whoever loops until the queue is empty may wait for another task's turn
        counts = await asyncio.gather(*(delivery.drain(one, self.config.batch_size) for one in ready))
        if self._house.is_due or any(one.is_durable for one in ready):
            await self._house.keep()
        for one in ready:
            if one.has_work:
                delivery.wake(one)  # of a run beside it, which saw it busy
        return sum(counts)
