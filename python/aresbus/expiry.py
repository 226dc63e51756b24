"""What a bus does about events that expire: the snapshots that have to be there first, the pass, and its pause.

Owns when a pass of retention may run, and what a bus knows of pins that its log does not: reducers and their snapshots. What
goes is retention's to say, dropping the log's. Invariants: no state that a reducer folds loses an event before a snapshot
stands for it; a clock that was set moves nothing out of the log.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from aresbus import _core, snapshot_record
from aresbus.clock import Clock
from aresbus.errors import AresbusError
from aresbus.log import Log
from aresbus.metrics import Counters
from aresbus.reports import RetentionReport
from aresbus.retention import Pin, PinKind, RetentionPlan, RetentionPolicy
from aresbus.snapshot_record import GIVEN, StoredSnapshot
from aresbus.snapshots import Snapshots
from aresbus.troubles import Troubles, described
from aresbus.vital_signs import Moment

__all__ = ["Expiry"]

DRIFT_NS = 3_600 * 10**9
"""A wall clock that moved by more against the boot clock is not believed about ages."""


class Expiry:
    """Retention of one bus's log."""

    def __init__(
        self,
        policy: RetentionPolicy,
        snapshots: Snapshots,
        counters: Counters,
        troubles: Troubles,
        clock: Clock,
        *,
        moment: Callable[[], Moment] = Moment.now,
    ) -> None:
        """``clock`` says how old events are, ``moment`` whether it may be believed."""
        self.policy: RetentionPolicy = policy
        self.last_plan: RetentionPlan | None = None
        """Of the last pass that found something expired."""
        self.problem: str = ""
        """Why nothing goes although it should: the clock was set, or the last pass failed."""
        self._snapshots, self._counters, self._troubles = snapshots, counters, troubles
        self._clock, self._moment = clock, moment
        self._began = moment()

    def begin(self) -> None:
        """A log was opened: from now on the clocks are watched."""
        self._began = self._moment()
        self.problem = ""

    @property
    def paused(self) -> str:
        """Why nothing may go now; "" where it may. Waits for nothing."""
        now, began = self._moment(), self._began
        drift = (now.wall_ns - began.wall_ns) - (now.boot_ns - began.boot_ns)
        if abs(drift) <= DRIFT_NS:
            return ""
        return f"retention is paused: the wall clock moved by {drift / 1e9:+.0f} s against the boot clock since the opening"

    def plan(self, log: Log) -> RetentionPlan:
        """What the next pass would drop, and why the rest stays. Blocks for the disk."""
        return log.retention_plan(
            self.policy, now_ns=self._clock.time_ns(), more_pins=partial(self._pins, log), paused=self.paused
        )

    async def keep(self, log: _core.Log | None) -> None:
        """One pass, if one is due. What fails in it is reported, and tried again in the next."""
        if not isinstance(log, Log) or log.mode != "rw" or log.path is None or self.policy.is_endless:
            return
        try:
            self.problem = self.paused
            if not self.problem:
                await self.apply(log)
        except (AresbusError, OSError) as error:
            self.problem = f"the last pass of retention failed: {described(error)}"
            self._troubles.report("retention", self.problem, error)

    async def apply(self, log: Log, reason: str = "") -> RetentionReport | None:
        """Make the snapshots that are missing, then drop what may go; None where nothing may. Raises as the log does."""
        bare = await asyncio.to_thread(
            log.retention_plan, self.policy, now_ns=self._clock.time_ns(), paused=self.paused
        )
        if not any(one.expired for one in bare.segments):
            self.last_plan = None
            return None
        for one in bare.drops:
            await self._prepare(log, one.first_seq, one.last_seq)
        plan = await asyncio.to_thread(self.plan, log)
        self.last_plan = plan
        if not plan.drops:
            return None
        dropped = await asyncio.to_thread(log.apply_retention, plan, reason=reason or "events expired")
        self._counters.segments_dropped += len(dropped["segments"])
        self._counters.events_expired += dropped["event_count"]
        return dropped

    async def _prepare(self, log: Log, first: int, last: int) -> None:
        """Make the snapshots without which events up to ``last`` must not go."""
        missing = await asyncio.to_thread(lambda: list(self._missing(log, first, last)))
        for aggregate_id in missing:
            try:
                await self._snapshots.take_now(aggregate_id)
            except Exception as error:  # noqa: BLE001 - a reducer is the user's code; without a snapshot the events stay
                self._troubles.report(
                    f"snapshot {aggregate_id}",
                    f"no snapshot of {aggregate_id}, so its events do not expire: {described(error)}",
                    error,
                )

    def _missing(self, log: Log, first: int, last: int) -> Iterator[str]:
        """The aggregates of these events that a reducer folds and no snapshot stands for."""
        for aggregate_id, types, newest in log._aggregates_in(first, last):  # noqa: SLF001 - made for this
            is_folded = self._snapshots.reducers.knows(aggregate_id, types)
            if is_folded and not self._has_snapshot(log, aggregate_id, newest):
                yield aggregate_id

    def _pins(self, log: Log, first: int, last: int) -> Iterator[Pin]:
        keeps_unreduced = self.policy.unreduced == "keep"
        for aggregate_id, types, newest in log._aggregates_in(first, last):  # noqa: SLF001 - made for this
            is_folded = self._snapshots.reducers.knows(aggregate_id, types)
            if (not is_folded and not keeps_unreduced) or self._has_snapshot(log, aggregate_id, newest):
                continue
            kind: PinKind = "snapshot" if is_folded else "aggregate"
            lacks = "no snapshot" if is_folded else "neither reducer nor snapshot"
            reason = f"the aggregate {aggregate_id!r} has {lacks} that stands for event {newest}"
            yield Pin(kind, aggregate_id, reason)

    def _has_snapshot(self, log: Log, aggregate_id: str, newest: int) -> bool:
        """Whether a state of the aggregate that holds its event at ``newest`` can be had from a snapshot."""
        recipe = self._snapshots.recipe

        def accepts(stored: StoredSnapshot) -> bool:
            is_usable = stored.kind == GIVEN or recipe.made(stored, aggregate_id)
            return is_usable and stored.snapshot.sequence_number >= newest

        return snapshot_record.newest_usable(log, aggregate_id, accepts=accepts).stored is not None
