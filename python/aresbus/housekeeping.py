"""What a bus does besides delivering: checkpoints, snapshots that are due, and its own figures for whoever asks.

Owns when the bus's own snapshot is made and what stands in it. Timing is the runner's. Invariant: a pass never blocks
the loop and never fails the bus.
"""

import asyncio
from typing import Any

from aresbus.delivery import Delivery
from aresbus.metrics import Counters
from aresbus.snapshots import Snapshots

__all__ = ["Housekeeping"]


class Housekeeping:
    """The occasional work of one bus."""

    def __init__(self, delivery: Delivery, snapshots: Snapshots, counters: Counters) -> None:
        """Nothing is due yet."""
        self._delivery, self._snapshots, self._counters = delivery, snapshots, counters
        self._system_at = 0

    @property
    def is_due(self) -> bool:
        """Whether a pass would make a snapshot."""
        return self._snapshots.is_enabled and (self._snapshots.is_due or self._is_system_due())

    async def keep(self) -> None:
        """One pass."""
        self._counters.housekeeping_passes += 1
        self._delivery.tell_positions()
        if any(one.is_durable for one in self._delivery.roster.all()):
            await asyncio.to_thread(self._delivery.remember)
        processed = self._delivery.processed_position
        await self._snapshots.take_due(processed)
        if self._is_system_due():
            await self._take_system(processed)

    async def finish(self) -> None:
        """The last pass, at stop: what is due, and the bus's own snapshot in any case."""
        processed = self._delivery.processed_position
        await self._snapshots.take_due(processed)
        await self._take_system(processed)
        await asyncio.to_thread(self._delivery.detach)

    def attached(self) -> None:
        """The delivery begins on a newly opened log: count from its end."""
        self._system_at = self._delivery.processed_position

    def _is_system_due(self) -> bool:
        return self._delivery.processed_position - self._system_at >= self._delivery.config.snapshot_frequency

    async def _take_system(self, processed: int) -> None:
        self._system_at = processed
        await self._snapshots.take_system(processed, self._figures(processed))

    def _figures(self, processed: int) -> dict[str, Any]:
        delivery = self._delivery
        return {
            "next_seq": processed,
            "metrics": {"events_processed": delivery.processed_count, **self._counters.classic()},
            "subscribers": {str(text): len(several) for text, several in delivery.roster.by_type.items()},
        }
