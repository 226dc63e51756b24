"""A bus for tests: everything in memory, a clock that stands still, refusals that raise, and a way to wait.

Owns the settings that suit a test. The bus itself is the real one. Invariant: `settled` polls nothing but the bus's
own counters, so it ends in the turn in which the last delivery does.
"""

import asyncio
from typing import Any

from aresbus._core import ManualClock
from aresbus.bus import EnhancedEventBus

__all__ = ["InMemoryBus", "settled"]

START_NS = 1_700_000_000_000_000_000
"""Where the clock stands at first: 2023-11-14, so that times look like times."""
BUSY_TURNS = 100
"""Turns of the loop given to handlers before the wait begins to sleep, for handlers that do."""
LOOK_SECONDS = 0.001


async def settled(bus: EnhancedEventBus) -> None:
    """Until everything appended, also by handlers meanwhile, was taken or parked by every subscription.

    Works on a bus that runs and on one that does not, which it drives itself. Waits for retries, and for ever on a
    handler that never returns: put an ``asyncio.timeout`` around it where that may be.
    """
    turns = 0
    while not bus.event_queue.empty():
        if not bus.is_running:
            await bus.process_pending()
        await asyncio.sleep(0 if turns < BUSY_TURNS else LOOK_SECONDS)
        turns += 1


class InMemoryBus(EnhancedEventBus):
    """A strict bus without disk, on a manual clock: ``bus.manual_clock.advance_ns(...)``."""

    def __init__(self, **settings: Any) -> None:
        """``settings`` are keys of the configuration."""
        self.manual_clock: ManualClock = ManualClock(START_NS)
        """Time of the bus and of its log."""
        super().__init__(
            {"event_bus": {"enable_persistence": False, **settings}}, clock=self.manual_clock, strict=True
        )

    async def settled(self) -> None:
        """As :func:`settled`."""
        await settled(self)
