"""When a replayed event is due: the gaps between recorded times, divided by a speed, on a clock that never steps.

Owns that arithmetic and the wait. Knows no events. Invariants: each wait is reckoned from one anchor, so that late sleeps
and slow handlers add no drift, and what lags catches up; a change of speed, a pause and a seek make no jump; time that
runs backwards in the log costs no wait.
"""

import asyncio
import contextlib
import math
import time
from typing import Protocol

__all__ = ["Pace", "RealTimer", "Timer"]

NS_PER_S = 1_000_000_000


class Timer(Protocol):
    """What a paced replay waits on; a test gives one that does not sleep."""

    def monotonic_ns(self) -> int:
        """A clock that never steps."""

    async def wait(self, changed: asyncio.Event, seconds: float) -> None:
        """Until ``seconds`` have passed or ``changed`` is set."""


class RealTimer:
    """The machine's monotonic clock."""

    def monotonic_ns(self) -> int:
        """As :func:`time.monotonic_ns`."""
        return time.monotonic_ns()

    async def wait(self, changed: asyncio.Event, seconds: float) -> None:
        """Sleep on the event loop."""
        with contextlib.suppress(TimeoutError):  # the time is up: that is the one way it is meant to end
            await asyncio.wait_for(changed.wait(), seconds)


class Pace:
    """Recorded time against real time. Used on one loop."""

    def __init__(self, speed: float | None, timer: Timer) -> None:
        """``speed`` 1.0 is as recorded, 60 a minute a second, None without waiting. Raises ValueError."""
        self.timer: Timer = timer
        self._speed = _checked(speed)
        self._anchor: tuple[int, int] | None = None
        """A moment of the timer and the recorded time that belongs to it."""
        self._held_at: int | None = None
        """The recorded time at which it was held, where the next anchor begins."""

    @property
    def speed(self) -> float | None:
        """Seconds of recorded time a second; None without waiting."""
        return self._speed

    def change(self, speed: float | None) -> None:
        """Go on at another speed from the recorded time reached now. Raises ValueError."""
        speed = _checked(speed)
        self.hold()
        self._speed = speed

    def hold(self) -> None:
        """Stop the recorded time where it is; it goes on with the next question."""
        if self._anchor is not None and self._speed is not None:
            began, recorded = self._anchor
            self._held_at = recorded + int((self.timer.monotonic_ns() - began) * self._speed)
        self._anchor = None

    def begin_at(self, time_ns: int | None) -> None:
        """Go on from this recorded time; None: from that of the next event, which is due at once."""
        self._anchor, self._held_at = None, time_ns

    def seconds_until(self, time_ns: int) -> float:
        """How long until the event with this recorded time is due; 0.0 if it is."""
        if self._speed is None:
            self._held_at = time_ns
            return 0.0
        now = self.timer.monotonic_ns()
        if self._anchor is None:
            self._anchor = (now, time_ns if self._held_at is None else self._held_at)
            self._held_at = None
        began, recorded = self._anchor
        remaining_ns = (time_ns - recorded) / self._speed - (now - began)
        # What is less than the timer can tell would be waited for without end.
        return remaining_ns / NS_PER_S if remaining_ns >= 1.0 else 0.0


def _checked(speed: float | None) -> float | None:
    if speed is None:
        return None
    if isinstance(speed, bool) or not isinstance(speed, int | float):
        raise TypeError(f"speed: takes a number or None, not {type(speed).__name__}")
    if not (math.isfinite(speed) and speed > 0):
        raise ValueError(f"speed: got {speed!r}, takes a number above 0, or None for as fast as it goes")
    return float(speed)
