"""What a bus does besides delivering: checkpoints, snapshots that are due, what expired, a look at its health, its own figures.

Owns what stands in the bus's own snapshot, and when health is looked at. Timing is the runner's.
Invariant: a pass never blocks the loop and never fails the bus.
"""

import asyncio
import time
from functools import partial
from typing import Any

from aresbus.delivery import Delivery
from aresbus.expiry import Expiry
from aresbus.health import Health, HealthLimits, HealthReport
from aresbus.metrics import Counters
from aresbus.snapshots import Snapshots
from aresbus.troubles import described
from aresbus.vital_signs import DiskSpace, disk_space, signs_of

__all__ = ["Housekeeping"]


class Housekeeping:
    """The occasional work of one bus."""

    def __init__(
        self,
        delivery: Delivery,
        snapshots: Snapshots,
        counters: Counters,
        limits: HealthLimits | None = None,
        *,
        expiry: Expiry,
    ) -> None:
        """Nothing is due yet. ``limits`` are those of health, the default ones unless given."""
        self._delivery, self._snapshots, self._counters = delivery, snapshots, counters
        self._health = Health(delivery.troubles, limits)
        self._expiry = expiry
        self._health_at = 0.0
        self._disk: DiskSpace | OSError | None = None

    @property
    def is_due(self) -> bool:
        """Whether a pass would have something to do about snapshots."""
        snapshots = self._snapshots
        return snapshots.may_be_due and snapshots.is_due(self._delivery.processed_position)

    async def keep(self) -> None:
        """One pass. What fails in it is reported, and tried again in the next."""
        try:
            await self._pass()
        except Exception as error:  # noqa: BLE001 - whatever it was, a bus without passes would store no checkpoint more
            self._delivery.troubles.report("housekeeping", f"a pass failed: {described(error)}", error)

    async def _pass(self) -> None:
        self._counters.housekeeping_passes += 1
        self._delivery.tell_positions()
        if any(one.is_durable for one in self._delivery.roster.all()):
            await asyncio.to_thread(self._delivery.remember)
        processed = self._delivery.processed_position
        await self._take_due(processed)
        if time.monotonic() >= self._health_at:
            await self._look_after_health()

    async def finish(self) -> None:
        """The last pass, at stop: what is due, and the bus's own snapshot in any case."""
        processed = self._delivery.processed_position
        await self._take_due(processed, is_last=True)
        await asyncio.to_thread(self._delivery.detach)

    def attached(self) -> None:
        """The delivery begins on a newly opened log: count from its end, look at the disk. Blocks for the disk."""
        self._snapshots.begin(self._delivery.processed_position)
        self._health_at = 0.0
        self._disk = self._disk_now()
        self._expiry.begin()

    def check_health(
        self, *, is_running: bool | None = None, held_for: tuple[float, str] | None = None
    ) -> HealthReport:
        """Judge the bus as it is now, its disk as of the last look. Any thread; waits for nothing."""
        return self._health.check(
            signs_of(
                self._delivery,
                disk=self._disk,
                is_running=is_running,
                held_for=held_for,
                retention=self._expiry.problem,
            )
        )

    async def _look_after_health(self) -> None:
        self._health_at = time.monotonic() + self._delivery.config.health_check_interval
        self._counters.health_checks += 1
        self._disk = await asyncio.to_thread(self._disk_now)
        await self._expiry.keep(self._delivery.frontier.log)
        self.check_health()

    def _disk_now(self) -> DiskSpace | OSError | None:
        log = self._delivery.frontier.log
        try:
            return None if log is None or log.path is None else disk_space(log.path)
        except OSError as error:  # among them LogClosedError: then nobody judges the disk either
            return error

    async def _take_due(self, processed: int, *, is_last: bool = False) -> None:
        await self._snapshots.take_due(processed)
        await self._snapshots.take_system(processed, partial(self._figures, processed), must=is_last)

    def _figures(self, processed: int) -> dict[str, Any]:
        delivery = self._delivery
        return {
            "next_seq": processed,
            "metrics": {"events_processed": delivery.processed_count, **self._counters.classic()},
            "subscribers": {str(text): len(several) for text, several in delivery.roster.by_type.items()},
        }
