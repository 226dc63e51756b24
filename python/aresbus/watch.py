"""What wakes a bus's loop, and what notices that the loop is held.

Owns the coalesced wake-up and two threads: one waits for other processes' appends, one checks that the loop still
turns. Knows neither subscriptions nor logs beyond `wait`. Invariants: a wake-up from another thread costs the loop
one callback, however many appends it stands for; both threads end with the run that started them.
"""

import asyncio
import threading
import time
from collections.abc import Callable

from aresbus._core import Log
from aresbus.errors import AresbusError

__all__ = ["HoldWatcher", "ReaderWatcher", "Waker"]

HELD_AFTER_SECONDS = 1.0
"""A loop that does nothing for this long is held: by a handler that should have been async."""
LOOK_SECONDS = 0.25
"""Between two looks at the loop, and at most between two looks at the log without a hint."""
JOIN_SECONDS = 2.0


class Waker:
    """Wakes one loop. Call it from any thread; calls before the loop had its turn count as one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """To be made on ``loop``, in its thread."""
        self._loop = loop
        self._event = asyncio.Event()
        self._thread = threading.get_ident()
        self._is_asked = False

    def __call__(self) -> None:
        """Wake the loop; nothing if it is closed."""
        if self._is_asked:
            return
        self._is_asked = True
        if threading.get_ident() == self._thread:
            self._event.set()
            return
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:  # closed in between: there is nobody left to wake
            self._is_asked = False

    def clear(self) -> None:
        """Forget what came so far; to be called before looking for what it was about."""
        self._event.clear()
        self._is_asked = False

    async def wait(self) -> None:
        """Until someone calls."""
        await self._event.wait()


class ReaderWatcher:
    """Blocks in `log.wait` in a thread and wakes the loop for what another process appends."""

    def __init__(self, log: Log, waker: Waker) -> None:
        """Start watching from the end of the log. Raises what reading the log raises."""
        self._log, self._waker = log, waker
        # Here and not in the thread, which may begin to run only after the loop has looked and gone to sleep: what is
        # appended in between would wake nobody.
        self._after = log.last_seq
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="aresbus-reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Blocks for at most one look."""
        self._stopping.set()
        self._thread.join(JOIN_SECONDS)

    def _watch(self) -> None:
        try:
            while not self._stopping.is_set():
                # What to wait for lies behind the end of a log that was cut, so the end itself is looked at too; that raises.
                if self._log.wait(self._after, LOOK_SECONDS) or self._log.last_seq != self._after:
                    self._after = self._log.last_seq
                    self._waker()
        except (AresbusError, OSError):
            self._waker()  # closed, or damaged: the loop will meet the error itself and tell it


class HoldWatcher:
    """Notices in a thread that the loop does not turn, tells once per hold, and how long it took."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[float, bool], None],
        held_after: float = HELD_AFTER_SECONDS,
    ) -> None:
        """``tell(seconds, is_over)`` runs in the watcher's thread when a hold is noticed, and when it is over."""
        self._loop, self._tell, self._held_after = loop, tell, held_after
        self._turned = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="aresbus-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Returns at once: the loop need not wait for it, and it keeps nothing of the bus alive."""
        self._tell = _tell_nobody
        self._stopping.set()
        self._turned.set()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._turned.clear()
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._turned.set)
            except RuntimeError:
                return
            if not self._turned.wait(self._held_after):
                self._tell(time.monotonic() - asked, False)
                while not self._turned.wait(LOOK_SECONDS) and not self._loop.is_closed():
                    pass
                self._tell(time.monotonic() - asked, True)


def _tell_nobody(seconds: float, is_over: bool) -> None:  # noqa: FBT001 - the watcher's call
    """What a stopped watcher has left to tell."""
