"""States of one bus: when a snapshot of an aggregate is due, that it is made, and rebuilding off the loop.

Owns the policy, and rebuilding on a store of the user's own. Folding is the reducers', rebuilding on a log
rebuilding's, the stored form snapshot_record's. Invariants: a rebuild from a snapshot and one from the first event
give the same state, so whatever is not certain is rebuilt in full; all folding happens off the loop, at most one
snapshot pass at a time.
"""

import asyncio
import copy
import uuid
from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any

from aresbus import snapshot_record
from aresbus._core import Event, Log
from aresbus.clock import Clock
from aresbus.config import BusConfig
from aresbus.events import EventSnapshot, ns_of_datetime
from aresbus.metrics import Counters
from aresbus.places import event_at
from aresbus.rebuilding import NOW, Rebuilt, Target, rebuild_to
from aresbus.reducers import Folded, Present, Reducer, Reducers, as_stored
from aresbus.snapshot_record import METRICS, STATE, StoredSnapshot
from aresbus.store import IEventStore, LogEventStore
from aresbus.troubles import Troubles, described

__all__ = ["Reducer", "Reducers", "Snapshots"]

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
        self._due: dict[str, int] = {}
        self._lock: asyncio.Lock | None = None

    def observe(self, seq: int, event: Event) -> None:
        """Note that the event goes out to subscribers: its aggregate may have become due."""
        version = event.aggregate_version
        if version is not None and (version + 1) % self._config.snapshot_frequency == 0:
            self._due[event.aggregate_id or ""] = seq

    @property
    def is_due(self) -> bool:
        """Whether an aggregate waits for a snapshot."""
        return bool(self._due)

    async def take_due(self, processed: int) -> None:
        """Make the snapshots that are due of events before ``processed``. One pass at a time."""
        if not self.is_enabled:
            return
        # Made here and not once: a lock belongs to the loop it was first waited on.
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            ready = {aggregate: seq for aggregate, seq in self._due.items() if seq < processed}
            for aggregate, seq in ready.items():
                await self._guarded(aggregate, self._take_aggregate(aggregate, seq))
                if self._due.get(aggregate) == seq:  # a pass that is cancelled leaves it to the next
                    del self._due[aggregate]

    async def take_system(self, processed: int, figures: dict[str, Any]) -> None:
        """Make the bus's own snapshot: ``figures`` after the event before ``processed``."""
        if not self.is_enabled or processed == 0:
            return
        snapshot = self._snapshot(SYSTEM, processed - 1, figures)
        await self._guarded(SYSTEM, self._save(StoredSnapshot(snapshot, kind=METRICS)))

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
        rebuilt = rebuild_to(
            log, aggregate_id, self.reducers, target, self.present, schemas=dict(self.schemas)
        )
        if rebuilt.ignored_snapshots:
            self._counters.snapshots_ignored += rebuilt.ignored_snapshots
            self._troubles.report(
                f"snapshot {aggregate_id}",
                f"{rebuilt.ignored_snapshots} unusable snapshots of {aggregate_id} ignored; "
                "the state is rebuilt from events",
            )
        return rebuilt

    async def _take_aggregate(self, aggregate_id: str, seq: int) -> None:
        if isinstance(self._store, LogEventStore):
            log, target = self._store.log, Target(seq=seq)
            rebuilt = await asyncio.to_thread(self._rebuild_on_log, log, aggregate_id, target)
            if rebuilt.is_known and rebuilt.last is not None:
                await self._save(self._stored(aggregate_id, rebuilt, rebuilt.last))
            return
        # The user's store numbers events in its own way, so this one is taken as of now.
        state, last, is_known = await self._rebuild_on_foreign(aggregate_id, NOW)
        if is_known and last is not None:
            position = last.metadata.sequence_number
            await self._save(StoredSnapshot(self._snapshot(aggregate_id, position, state)))

    async def _save(self, stored: StoredSnapshot) -> None:
        snapshot = stored.snapshot
        if isinstance(self._store, LogEventStore):
            await asyncio.to_thread(self._save_on_log, self._store.log, stored)
        else:
            await self._store.save_snapshot(snapshot)
        self._counters.snapshots_created += 1
        self.made.pop(snapshot.aggregate_id, None)
        self.made[snapshot.aggregate_id] = snapshot
        if len(self.made) > self._config.max_history:
            del self.made[next(name for name in self.made if name != SYSTEM)]

    @staticmethod
    def _save_on_log(log: Log, stored: StoredSnapshot) -> None:
        if stored.event_id is None:
            event = event_at(log, stored.snapshot.sequence_number)
            if event is None:
                return  # dropped since, from a log in memory: there is nothing left to anchor to
            stored = StoredSnapshot(
                stored.snapshot, kind=stored.kind, event_id=event.event_id, epoch=event.epoch
            )
        snapshot_record.write(log, stored)

    async def _guarded(self, aggregate_id: str, act: Coroutine[Any, Any, None]) -> None:
        try:
            await act
        except Exception as error:  # noqa: BLE001 - a reducer is the user's code; a snapshot is only a cache
            self._troubles.report(
                f"snapshot {aggregate_id}", f"no snapshot of {aggregate_id}: {described(error)}", error
            )

    def _stored(self, aggregate_id: str, rebuilt: Rebuilt, last: Event) -> StoredSnapshot:
        return StoredSnapshot(
            self._snapshot(aggregate_id, last.seq or 0, rebuilt.state),
            kind=STATE,
            aggregate_version=last.aggregate_version,
            schema_version=last.schema_version,
            reducers=rebuilt.reducers,
            schemas=dict(self.schemas),
            event_id=last.event_id,
            epoch=last.epoch,
        )

    def _snapshot(self, aggregate_id: str, seq: int, state: dict[str, Any]) -> EventSnapshot:
        return EventSnapshot(str(uuid.uuid4()), self._clock.now(), aggregate_id, seq, state)


def _within(events: list[Event], target: Target) -> list[Event]:
    """The events of one aggregate, from its first on, that belong to the target."""
    if target.version is not None:
        events = events[: target.version + 1]
    if target.time_ns is None:
        return events
    times = [ns_of_datetime(event.metadata.timestamp) for event in events]
    count = max((at + 1 for at, time in enumerate(times) if time <= target.time_ns), default=0)
    return events[:count]
