"""State of aggregates: how it is folded from events, when a snapshot of it is due, and how it is rebuilt.

Owns the reducers and the policy. The stored form is snapshot_record's. Invariants: a rebuild from a snapshot and one
from the first event give the same state, so whatever is not certain is rebuilt in full; a state never leaves out
events that retention dropped; all folding happens off the loop, at most one snapshot pass at a time.
"""

import asyncio
import copy
import uuid
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeAlias

from aresbus import snapshot_record
from aresbus._core import Event, Log
from aresbus.clock import Clock
from aresbus.config import BusConfig
from aresbus.errors import TruncatedError
from aresbus.events import EventSnapshot, EventType
from aresbus.metrics import Counters
from aresbus.snapshot_record import METRICS, STATE, StoredSnapshot
from aresbus.store import IEventStore, LogEventStore
from aresbus.troubles import Troubles, described

__all__ = ["Reducer", "Reducers", "Snapshots"]

SYSTEM = "system"
"""The aggregate id under which the bus keeps snapshots of its own figures."""

Reducer: TypeAlias = Callable[[dict[str, Any], Event], dict[str, Any] | None]
"""From the state and the next event to the new state; None means: the given one, changed in place. Must be pure."""


def _add_trade(state: dict[str, Any], event: Event) -> None:
    state.setdefault("trades", []).append(event.data)


def _set_performance(state: dict[str, Any], event: Event) -> None:
    state["performance"] = event.data


class Reducers:
    """Which function folds which event type, in which version."""

    def __init__(self) -> None:
        """Begin with the built-in ones: trades are collected, the performance is the newest."""
        self._functions: dict[str, Reducer] = {
            EventType.TRADE_EXECUTED: _add_trade,
            EventType.PERFORMANCE_UPDATE: _set_performance,
        }
        self.versions: dict[str, int] = dict.fromkeys(map(str, self._functions), 1)

    def register(self, event_type: str, reducer: Reducer, version: int) -> None:
        """Fold events of the type with ``reducer``; raising ``version`` makes older snapshots worthless."""
        text = str(event_type)
        self._functions[text] = reducer
        self.versions = {**self.versions, text: version}

    def fold(self, state: dict[str, Any], event: Event) -> tuple[dict[str, Any], bool]:
        """The state after the event, and whether any reducer knew its type."""
        reducer = self._functions.get(event.event_type)
        if reducer is None:
            return state, False
        changed = reducer(state, event)
        return state if changed is None else changed, True


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
                self._due.pop(aggregate, None)
                await self._guarded(aggregate, self._take_aggregate(aggregate, seq))

    async def take_system(self, processed: int, figures: dict[str, Any]) -> None:
        """Make the bus's own snapshot: ``figures`` after the event before ``processed``."""
        if not self.is_enabled or processed == 0:
            return
        snapshot = self._snapshot(SYSTEM, processed - 1, figures)
        await self._guarded(SYSTEM, self._save(StoredSnapshot(snapshot, kind=METRICS)))

    async def rebuild(self, aggregate_id: str, target: int | None) -> dict[str, Any]:
        """The aggregate's state after ``target``, or now: newest usable snapshot plus later events."""
        if isinstance(self._store, LogEventStore):
            log = self._store.log
            stored, _ = await asyncio.to_thread(self._rebuild_on_log, log, aggregate_id, target)
            return stored.snapshot.state_data
        state, _, _ = await self._rebuild_on_foreign(aggregate_id, target)
        return state

    async def _rebuild_on_foreign(
        self, aggregate_id: str, target: int | None
    ) -> tuple[dict[str, Any], int | None, bool]:
        """The state, the store's position of the last event folded, and whether any reducer knew one."""
        base = await self._store.get_latest_snapshot(aggregate_id)
        if base is not None and target is not None and base.sequence_number > target:
            base = None
        # A store may hand out the object that it keeps; reducers change what they fold.
        state = {} if base is None else copy.deepcopy(base.state_data)
        start = 0 if base is None else base.sequence_number + 1
        events = await self._store.get_events(aggregate_id, start, target)
        state, last, is_known = await asyncio.to_thread(self._fold, state, events)
        return state, None if last is None else last.metadata.sequence_number, is_known

    def _rebuild_on_log(self, log: Log, aggregate_id: str, target: int | None) -> tuple[StoredSnapshot, bool]:
        """The state as a snapshot at the last event folded, and whether any reducer knew an event since the base."""
        base, ignored = snapshot_record.newest_usable(log, aggregate_id, up_to=target, accepts=self._accepts)
        if ignored:
            self._counters.snapshots_ignored += ignored
            self._troubles.report(
                f"snapshot {aggregate_id}",
                f"{ignored} unusable snapshots of {aggregate_id} ignored; the state is rebuilt from events",
            )
        after = None if base is None else base.snapshot.sequence_number
        events = _complete(log, aggregate_id, after, target)
        state = {} if base is None else base.snapshot.state_data
        state, last, is_known = self._fold(state, events)
        if last is None:
            empty = StoredSnapshot(self._snapshot(aggregate_id, 0, state), kind=STATE)
            return base or empty, False
        return self._stored(aggregate_id, last, state), is_known

    def _fold(
        self, state: dict[str, Any], events: Iterable[Event]
    ) -> tuple[dict[str, Any], Event | None, bool]:
        last, is_known = None, False
        for last in events:
            state, is_used = self.reducers.fold(state, last)
            is_known = is_known or is_used
        return state, last, is_known

    def _accepts(self, stored: StoredSnapshot) -> bool:
        return stored.kind != METRICS and (stored.kind != STATE or stored.reducers == self.reducers.versions)

    async def _take_aggregate(self, aggregate_id: str, seq: int) -> None:
        if isinstance(self._store, LogEventStore):
            log = self._store.log
            stored, is_known = await asyncio.to_thread(self._rebuild_on_log, log, aggregate_id, seq)
        else:
            # The user's store numbers events in its own way, so this one is taken as of now.
            state, position, is_known = await self._rebuild_on_foreign(aggregate_id, None)
            stored = StoredSnapshot(self._snapshot(aggregate_id, position or 0, state))
        if is_known:
            await self._save(stored)

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
            event = snapshot_record.event_at(log, stored.snapshot.sequence_number)
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

    def _stored(self, aggregate_id: str, last: Event, state: dict[str, Any]) -> StoredSnapshot:
        return StoredSnapshot(
            self._snapshot(aggregate_id, last.seq or 0, state),
            kind=STATE,
            aggregate_version=last.aggregate_version,
            schema_version=last.schema_version,
            reducers=self.reducers.versions,
            event_id=last.event_id,
            epoch=last.epoch,
        )

    def _snapshot(self, aggregate_id: str, seq: int, state: dict[str, Any]) -> EventSnapshot:
        return EventSnapshot(str(uuid.uuid4()), self._clock.now(), aggregate_id, seq, state)


def _complete(log: Log, aggregate_id: str, after: int | None, target: int | None) -> Iterable[Event]:
    """The aggregate's events after ``after``; TruncatedError where some of them are no longer kept."""
    first_seq = log.first_seq
    read = partial(log.read, up_to=target, aggregate_id=aggregate_id)
    if after is not None and after + 1 >= first_seq:
        return read(after=after)
    events = iter(read())
    first = next(events, None)
    previous = None if first is None else first.aggregate_prev
    is_missing = previous is not None and (after is None or previous > after)
    is_gone = first is None and first_seq > 0 and log.aggregate_version(aggregate_id) is not None
    if is_missing or (is_gone and after is None):
        raise TruncatedError(
            f"events of {aggregate_id} before {first_seq} are no longer kept", first_seq=first_seq
        )
    return () if first is None else (first, *events)
