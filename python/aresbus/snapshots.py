"""States of one bus: snapshots made as the policies say, and by hand, and rebuilding off the loop.

Owns that what is due is made, and rebuilding on a store of the user's own. When something is due is snapshot_policies',
folding the reducers', rebuilding on a log rebuilding's, the stored form snapshot_record's. Invariants: a rebuild from a
snapshot and one from the first event give the same state, so whatever is not certain is rebuilt in full; all folding
happens off the loop, at most one snapshot pass at a time.
"""

import asyncio
import copy
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any

from aresbus import snapshot_record
from aresbus._core import Event, Log
from aresbus.clock import Clock
from aresbus.config import BusConfig
from aresbus.events import EventSnapshot, ns_of_datetime
from aresbus.metrics import Counters
from aresbus.places import anchor_at
from aresbus.rebuilding import NOW, Rebuilt, Recipe, Target, rebuild_to
from aresbus.reducers import Folded, Present, Reducers, as_stored
from aresbus.snapshot_acts import take
from aresbus.snapshot_policies import Schedule, SnapshotPolicy, Span, When
from aresbus.snapshot_record import METRICS, StoredSnapshot
from aresbus.snapshot_watch import Watch
from aresbus.store import IEventStore, LogEventStore
from aresbus.troubles import Troubles, described

__all__ = ["Snapshots"]

SYSTEM = "system"
"""The aggregate id under which the bus keeps snapshots of its own figures."""


class Snapshots:
    """Folds, remembers and stores states for one bus. ``made`` holds the newest snapshot of each aggregate."""

    def __init__(
        self,
        store: IEventStore,
        config: BusConfig,
        counters: Counters,
        troubles: Troubles,
        clock: Clock,
        *,
        is_reader: bool = False,
    ) -> None:
        """Nothing is read or written yet."""
        self.reducers: Reducers = Reducers()
        self.present: Present = as_stored
        """What of a stored event the reducers get to see."""
        self.schemas: Mapping[str, str] = {}
        """The schema versions that it brings events to; a snapshot of others is rebuilt."""
        self.made: dict[str, EventSnapshot] = {}
        self.is_enabled: bool = config.enable_snapshots and not is_reader
        self._store, self._config = store, config
        self._counters, self._troubles, self._clock = counters, troubles, clock
        self._schedule = Schedule(SnapshotPolicy(every_events=config.snapshot_frequency), clock.time_ns)
        self._watch = Watch()
        self._system_at = 0
        """How far the events were counted of which the bus makes a snapshot of its own."""
        self._observed = 0
        self.may_be_due: bool = False
        """Whether an event went out of which a pass has something to do, now or once it is processed. Asked behind each."""
        self._lock: asyncio.Lock | None = None

    def set_policy(self, policy: SnapshotPolicy, category: str | None) -> None:
        """When snapshots of the aggregates of a category, or of all without a policy of their own, are made."""
        self._schedule.set(policy, category)

    def observe(self, seq: int, event: Event) -> bool:
        """Note that the event goes out to subscribers; whether a pass may have something to do about it."""
        if not self.is_enabled:
            return False
        self._observed = seq + 1
        is_full = self._schedule.observe(seq, event, self.reducers.category_of)
        if not is_full and not self._is_system_due(self._observed):
            return False
        self.may_be_due = True
        return True

    def is_due(self, processed: int) -> bool:
        """Whether a pass would have something to do about events before ``processed``."""
        if not self.is_enabled:
            return False
        self.may_be_due = self._schedule.is_waiting or self._is_system_due(self._observed)
        return self._schedule.is_due(processed) or self._is_system_due(processed)

    def begin(self, processed: int) -> None:
        """From here on the events count of which the bus makes a snapshot of its own."""
        self._system_at = processed

    def _is_system_due(self, processed: int) -> bool:
        return processed - self._system_at >= self._config.snapshot_frequency

    async def take_due(self, processed: int) -> None:
        """Make the snapshots that are due of events before ``processed``. One pass at a time."""
        if not self.is_enabled:
            return
        # Made here and not once: a lock belongs to the loop it was first waited on.
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            for aggregate, unseen, when in self._schedule.unseen(processed):
                await self._guarded(aggregate, self._ask(aggregate, unseen, when))
            for aggregate, seq in self._schedule.due(processed).items():
                await self._guarded(aggregate, self._take_aggregate(aggregate, seq))
                self._schedule.done(aggregate, seq)  # a pass that is cancelled leaves it to the next

    async def take_now(self, aggregate_id: str) -> EventSnapshot | None:
        """By hand, whatever the policies say. Raises what folding and storing raise."""
        return await self._take_aggregate(aggregate_id, None)

    async def take_system(self, processed: int, figures: Callable[[], dict[str, Any]], *, must: bool) -> None:
        """Make the bus's own snapshot, if it is due or must be: ``figures`` after the event before ``processed``."""
        if not must and not self._is_system_due(processed):
            return
        self._system_at = processed
        if not self.is_enabled or processed == 0:
            return
        await self._guarded(SYSTEM, self._save_system(processed - 1, figures()))

    @property
    def recipe(self) -> Recipe:
        """What makes its states."""
        return Recipe(self.reducers, self.present, dict(self.schemas))

    async def rebuild(
        self,
        aggregate_id: str,
        to_seq: int | None = None,
        *,
        to_version: int | None = None,
        to_time: datetime | int | None = None,
    ) -> dict[str, Any]:
        """The aggregate's state now, or as it was at an inclusive bound: newest usable snapshot plus later events.

        Raises as :func:`aresbus.rebuild`. A store of the user's own knows no append times: there ``to_time`` speaks
        of ``metadata.timestamp``.
        """
        target = Target.of(to_version, to_seq, to_time)
        if isinstance(self._store, LogEventStore):
            return (
                await asyncio.to_thread(self._rebuild_on_log, self._store.log, aggregate_id, target)
            ).state
        return (await self._rebuild_on_foreign(aggregate_id, target)).state

    async def _rebuild_on_foreign(self, aggregate_id: str, target: Target) -> Folded:
        base = None
        if target.version is None and target.time_ns is None:  # a snapshot says neither of the event it is of
            base = await self._store.get_latest_snapshot(aggregate_id)
        if base is not None and target.seq is not None and base.sequence_number > target.seq:
            base = None
        # A store may hand out the object that it keeps; reducers change what they fold.
        state = {} if base is None else copy.deepcopy(base.state_data)
        start = 0 if base is None else base.sequence_number + 1
        events = await self._store.get_events(aggregate_id, start, target.seq)
        return await asyncio.to_thread(
            self.reducers.fold, aggregate_id, state, _within(events, target), self.present
        )

    def _rebuild_on_log(self, log: Log, aggregate_id: str, target: Target) -> Rebuilt:
        rebuilt = rebuild_to(log, aggregate_id, self.recipe, target)
        self._note_ignored(aggregate_id, rebuilt)
        return rebuilt

    def _note_ignored(self, aggregate_id: str, rebuilt: Rebuilt) -> None:
        if rebuilt.ignored_snapshots:
            self._counters.snapshots_ignored += rebuilt.ignored_snapshots
            self._counters.snapshots_damaged += rebuilt.damaged_snapshots
            self._troubles.report(
                f"snapshot {aggregate_id}",
                f"{rebuilt.ignored_snapshots} unusable snapshots of {aggregate_id} ignored, "
                f"{rebuilt.damaged_snapshots} of them damaged; the state is rebuilt from events",
            )

    async def _ask(self, aggregate_id: str, unseen: Span, when: When) -> None:
        """Ask a predicate about events that it has not seen; where it holds, the aggregate is due."""
        if isinstance(self._store, LogEventStore):
            log, recipe = self._store.log, self.recipe
            hit = await asyncio.to_thread(self._watch.newest_hit, log, aggregate_id, unseen, when, recipe)
        else:
            # The user's store numbers events in its own way: asked about the newest state alone.
            folded = await self._rebuild_on_foreign(aggregate_id, NOW)
            hit = unseen.newest if folded.last is not None and when(folded.state, folded.last) else None
        if hit is not None:
            self._schedule.demand(aggregate_id, hit)

    async def _take_aggregate(self, aggregate_id: str, seq: int | None) -> EventSnapshot | None:
        kept = self._schedule.policy_of(self.reducers.category_of(aggregate_id)).kept
        if isinstance(self._store, LogEventStore):
            log, target = self._store.log, Target(seq=seq)
            taken = await asyncio.to_thread(
                take, log, aggregate_id, self.recipe, target, kept=kept, now=self._clock.now()
            )
            self._note_ignored(aggregate_id, taken.rebuilt)
            snapshot = taken.snapshot
        else:
            # The user's store numbers events in its own way, so this one is taken as of now.
            state, last, is_known = await self._rebuild_on_foreign(aggregate_id, NOW)
            if not is_known or last is None:
                return None
            snapshot = self._snapshot(aggregate_id, last.metadata.sequence_number, state)
            await self._store.save_snapshot(snapshot)
        if snapshot is not None:
            self._note_made(snapshot)
        return snapshot

    async def _save_system(self, seq: int, figures: dict[str, Any]) -> None:
        snapshot = self._snapshot(SYSTEM, seq, figures)
        if not isinstance(self._store, LogEventStore):
            await self._store.save_snapshot(snapshot)
        elif not await asyncio.to_thread(_save_figures, self._store.log, snapshot):
            return
        self._note_made(snapshot)

    def _note_made(self, snapshot: EventSnapshot) -> None:
        self._counters.snapshots_created += 1
        self.made.pop(snapshot.aggregate_id, None)
        self.made[snapshot.aggregate_id] = snapshot
        if len(self.made) > self._config.max_history:
            del self.made[next(name for name in self.made if name != SYSTEM)]

    def forget(self, aggregate_id: str | None) -> None:
        """The snapshots of an aggregate, or of all, were dropped."""
        if aggregate_id is None:
            self.made.clear()
        self.made.pop(aggregate_id or "", None)

    async def _guarded(self, aggregate_id: str, act: Coroutine[Any, Any, object]) -> None:
        try:
            await act
        except Exception as error:  # noqa: BLE001 - a reducer is the user's code; a snapshot is only a cache
            self._troubles.report(
                f"snapshot {aggregate_id}", f"no snapshot of {aggregate_id}: {described(error)}", error
            )

    def _snapshot(self, aggregate_id: str, seq: int, state: dict[str, Any]) -> EventSnapshot:
        return EventSnapshot(str(uuid.uuid4()), self._clock.now(), aggregate_id, seq, state)


def _save_figures(log: Log, snapshot: EventSnapshot) -> bool:
    """Store the bus's own snapshot; False where its event was dropped since, from a log in memory."""
    anchor = anchor_at(log, snapshot.sequence_number)
    if anchor is None:
        return False
    snapshot_record.write(log, StoredSnapshot(snapshot, kind=METRICS, anchor=anchor))
    return True


def _within(events: list[Event], target: Target) -> list[Event]:
    """The events of one aggregate, from its first on, that belong to the target."""
    if target.version is not None:
        events = events[: target.version + 1]
    if target.time_ns is None:
        return events
    times = [ns_of_datetime(event.metadata.timestamp) for event in events]
    count = max((at + 1 for at, time in enumerate(times) if time <= target.time_ns), default=0)
    return events[:count]
