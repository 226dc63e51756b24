"""What `publish` returns where it has to wait or to raise; in the normal case it is the engine's finished `Published`.

Owns that awaitable, the pause that a tight publish loop makes for others, and the shared wait for the disk. The append
itself happened before. Invariants: of any 256 publications awaited in a row on one loop one suspends; a wait for
the disk suspends the task, never the loop; a publication is awaited once, as any coroutine.
"""

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context
from functools import partial
from types import GeneratorType, TracebackType
from typing import Any, NamedTuple, cast

from aresbus._core import Event, Log, Receipt
from aresbus._typing import override
from aresbus.errors import StorageError

__all__ = ["Publication", "Settler"]

PAUSE_EVERY = 256
"""A power of two below the 1,024 that are promised. A pause costs about 1 µs, so it is lost in the noise."""


class _Turns(threading.local):
    """Publications awaited without a pause, per thread and so per loop."""

    count = 0


_turns = _Turns()


class Publication(Coroutine[Any, Any, str]):
    """The outcome of a publish: awaiting gives the event id as text, or raises what went wrong.

    A :class:`collections.abc.Coroutine`: create_task, gather, wait_for, TaskGroup and asyncio.run take it. The event
    was appended, or refused, when publish was called; a publication that nobody awaits loses its error, which was
    logged and counted at the call, and nothing else.
    """

    __slots__ = ("_error", "_event", "_is_begun", "_later", "_steps")

    def __init__(
        self,
        event: Event | Receipt | None,
        error: BaseException | None = None,
        later: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """Of a stored event, of an error, or of nothing (refused, the id is ""); ``later`` makes what to await."""
        self._event, self._error, self._later = event, error, later
        self._steps: GeneratorType[Any, Any, str] | None = None
        self._is_begun = False

    @override
    def __await__(self) -> Generator[Any, Any, str]:
        # A generator, since a loop in C awaits one without an exception for its end: that is half of what awaiting costs.
        if self._is_begun:
            raise RuntimeError("cannot reuse already awaited publication")
        self._is_begun = True
        event, error, later = self._event, self._error, self._later
        self._event = self._error = self._later = None
        del self  # which has these steps, where a task takes them
        if later is not None:
            return (yield from later().__await__())
        _turns.count = turn = (_turns.count + 1) % PAUSE_EVERY
        if turn == 0:
            yield  # as asyncio.sleep(0) does
        if error is not None:
            raise error
        return "" if event is None else event.event_id

    @override
    def send(self, value: Any, /) -> Any:
        """Run to the next pause; StopIteration carries the event id."""
        return self._running().send(value)

    @override
    def throw(
        self,
        kind: BaseException | type[BaseException],
        value: BaseException | object = None,
        trace: TracebackType | None = None,
        /,
    ) -> Any:
        """Raise in the place where it waits."""
        error = kind if isinstance(kind, BaseException) else value
        if not isinstance(error, BaseException):
            error = kind() if error is None else kind(error)  # type: ignore[operator]
        steps = self._running()
        self._is_begun = True  # also where no step was made
        return steps.throw(error if trace is None else error.with_traceback(trace))

    @override
    def close(self) -> None:
        """Give up waiting; the event stays appended."""
        self._is_begun = True
        self._later = None
        if self._steps is not None:
            self._steps.close()

    def _running(self) -> "GeneratorType[Any, Any, str]":
        """The steps, for whoever takes them one by one: a task."""
        steps = self._steps
        if steps is None:
            steps = self._steps = cast("GeneratorType[Any, Any, str]", self.__await__())
        elif steps.gi_frame is None:
            raise RuntimeError("cannot reuse already awaited publication")
        return steps

    @override
    def __repr__(self) -> str:
        return f"<Publication of {self._event!r}>" if self._event is not None else "<Publication>"


class Settler:
    """Waits for the disk on behalf of many publications of one log: one sync at a time, shared by all who wait."""

    def __init__(self) -> None:
        """One per bus; any number of loops."""
        self._queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = (
            weakref.WeakKeyDictionary()
        )

    def settled(self, log: Log, event: Event | Receipt) -> "asyncio.Future[str]":
        """Gets the event's id once it is durable, or StorageError that says the event is committed."""
        # A future each, and nothing else to be stepped through: one waiter's cancellation is not the others'.
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            # Who waited on a loop that was closed meanwhile keeps it alive.
            for other in [other for other in self._queues if other.is_closed()]:
                del self._queues[other]
            queue = self._queues[loop] = _Queue()
        waiter: asyncio.Future[str] = loop.create_future()
        queue.settle(log, _Waiting(event.seq or 0, event.event_id, waiter))
        return waiter


class _Waiting(NamedTuple):
    """Who waits for which event."""

    seq: int
    event_id: str
    waiter: "asyncio.Future[str]"

    def fail(self, error: BaseException) -> None:
        """Each gets an error of its own: the one of a shared sync knows nothing of their events."""
        if not self.waiter.done():
            self.waiter.set_exception(self._own(error))

    def _own(self, error: BaseException) -> BaseException:
        if not isinstance(error, StorageError):
            return error
        fields = {name: getattr(error, name) for name in error.FIELDS}
        fields |= {"committed": True, "seq": self.seq, "event_id": self.event_id}
        note = f" (event {self.event_id} at seq {self.seq} is committed, its durability unknown)"
        try:
            own = type(error)(error.message + note, **fields)
        except Exception:  # noqa: BLE001 - a class of somebody else's, made otherwise: nobody is left waiting for that
            return error
        own.__cause__ = error
        return own


class _Queue:
    """The sync that runs on one loop's behalf, and who waits for it or for the one that begins when it is done."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._is_syncing = False

    def settle(self, log: Log, waiting: _Waiting) -> None:
        """Answers at once where the event is durable already, else once a sync says so."""
        self._waiting.append(waiting)
        if not self._is_syncing:
            self._go_on(log)

    def _go_on(self, log: Log) -> None:
        """Answers whom it can, and begins a sync for the others. Nobody is left behind, whatever fails."""
        try:
            self._answer(log.durable_seq)
            if self._waiting:
                syncing = asyncio.get_running_loop().run_in_executor(None, log.sync)
                # In a context of its own: that of whoever came first would be kept as long as there is always somebody.
                syncing.add_done_callback(partial(self._synced, log), context=Context())
                self._is_syncing = True
        except Exception as error:  # noqa: BLE001 - theirs who wait: the log is closed, or the loop's threads are gone
            self._fail(error.with_traceback(None))  # which holds frames that hold the waiters

    def _synced(self, log: Log, done: "asyncio.Future[int | None]") -> None:
        self._is_syncing = False
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is None:
            self._go_on(log)
            return
        with suppress(StorageError):  # somebody else's sync may have come before the one that failed
            self._answer(log.durable_seq)
        self._fail(error)  # if all were cancelled, the next append tells

    def _answer(self, durable: int | None) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if one.waiter.done():
                continue  # cancelled: no sync is owed
            if durable is None or durable < one.seq:
                self._waiting.append(one)
            else:
                one.waiter.set_result(one.event_id)

    def _fail(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.fail(error)
