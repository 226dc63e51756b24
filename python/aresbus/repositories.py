"""Repositories: load an aggregate from a log, let it decide, append what it decided if nobody was faster.

Owns the append with the expected version, and snapshots of aggregates. What an aggregate is stands in aggregates,
rebuilding up to a place in rebuilding, trying again in conflicts. Invariants: what was decided on one state is stored
on that state or not at all; a batch over several aggregates is one append; a snapshot never decides anything.
"""

import logging
import math
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

from aresbus import snapshot_record
from aresbus._core import Durability, Event, Expected, Receipt
from aresbus.aggregates import Aggregate
from aresbus.conflicts import RETRIES, retry_on_conflict
from aresbus.correlation import handled_event, inherit
from aresbus.errors import EncodeError
from aresbus.events import EventSnapshot, utc_now
from aresbus.log import Log
from aresbus.places import Anchor, anchor_of, event_at
from aresbus.rebuilding import NOW, Target, history
from aresbus.reducers import Present, as_stored
from aresbus.snapshot_policies import SnapshotPolicy
from aresbus.snapshot_record import AGGREGATE, KEPT, StoredSnapshot

__all__ = ["Executed", "Repository", "append_decided", "defaults_of", "note_saved", "policy_of"]

logger: logging.Logger = logging.getLogger(__name__)

A = TypeVar("A", bound=Aggregate)
R = TypeVar("R")

Saved: TypeAlias = tuple[Aggregate, int | None, Receipt]
"""An aggregate, its version before a save, and the receipt of its last event."""


class Executed(NamedTuple, Generic[A, R]):
    """What came of a command."""

    aggregate: A
    """As it is after the command, saved."""
    result: R
    """What the command returned."""
    receipts: list[Receipt]
    """One per event; empty where the command decided nothing."""


class Repository(Generic[A]):
    """Aggregates of one class in one log. Thread-safe; the aggregates it gives out are not.

    ``snapshot_policy``: when a save makes a snapshot, its time being that of the log's clock; None: never.
    ``snapshot_every=n`` is short for ``SnapshotPolicy(every_events=n)``. ``present`` is applied to each stored event
    before it is folded.
    """

    def __init__(
        self,
        log: Log,
        kind: type[A],
        *,
        snapshot_every: int | None = None,
        snapshot_policy: SnapshotPolicy | None = None,
        present: Present = as_stored,
    ) -> None:
        """``kind(aggregate_id)`` makes an aggregate without events.

        Raises ValueError for ``snapshot_every`` below 1, and where both it and ``snapshot_policy`` are given.
        """
        self._log, self._kind, self._present = log, kind, present
        self._policy = policy_of(snapshot_every, snapshot_policy)

    def load(
        self,
        aggregate_id: str,
        *,
        to_version: int | None = None,
        to_seq: int | None = None,
        to_time: datetime | int | None = None,
    ) -> A:
        """The aggregate as it is, or as it was at an inclusive bound: see :func:`aresbus.rebuild`.

        One of which nothing is stored has ``version`` None. Blocks for the disk. Raises as :func:`aresbus.rebuild`,
        and what an ``@applies`` method raises.
        """
        target = Target.of(to_version, to_seq, to_time)
        return self._load(aggregate_id, target).aggregate

    def save(
        self,
        *aggregates: Aggregate,
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        durability: Durability | None = None,
    ) -> list[Receipt]:
        """Append what the aggregates decided as one batch, if each is still at the version it was loaded at.

        All or nothing, also over aggregates of several classes; one that decided nothing is checked only. Nothing
        pending at all: nothing is checked or written. Durable on return as the log's, or the given, durability says.
        Within a handler the ids of correlation and causation are inherited, unless given.

        Raises VersionConflictError, EncodeError, LimitError, StorageError; the aggregates keep what they decided.
        Raises ValueError where one aggregate is given twice.
        """
        defaults = defaults_of(source, correlation_id, causation_id, durability)
        receipts = append_decided(self._log, aggregates, defaults)
        self.take_snapshots(note_saved(aggregates, receipts))
        return receipts

    def execute(
        self,
        aggregate_id: str,
        command: Callable[[A], R],
        *,
        retries: int = RETRIES,
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        durability: Durability | None = None,
    ) -> Executed[A, R]:
        """Load, call ``command(aggregate)``, save; from the load again where somebody else was faster.

        A command that emits nothing writes nothing. What it raises goes on, nothing is written. After ``retries``
        retries the last VersionConflictError is raised. Else raises as :meth:`load` and :meth:`save`.
        """

        def act() -> Executed[A, R]:
            aggregate = self.load(aggregate_id)
            result = command(aggregate)
            receipts = self.save(
                aggregate,
                source=source,
                correlation_id=correlation_id,
                causation_id=causation_id,
                durability=durability,
            )
            return Executed(aggregate, result, receipts)

        return retry_on_conflict(act, retries=retries)

    def take_snapshot(self, aggregate_id: str) -> EventSnapshot | None:
        """Store a snapshot of the aggregate as it is now, whatever the policy says; durable on return.

        None, and nothing is stored, where it has no events. Blocks for the disk. Raises as :meth:`load`, StorageError and
        its kin, and EncodeError for a state that JSON would change.
        """
        aggregate, base, last = self._load(aggregate_id, NOW)
        if last is None:
            return None if base is None else base.snapshot  # it is there already
        return self._store_state(aggregate, anchor_of(last))

    def take_snapshots(self, saved: list[Saved]) -> None:
        """Make the snapshots that are due. Blocks for the disk; never raises for a state or a disk."""
        for aggregate, before, receipt in saved:
            if self._policy is None or type(aggregate) is not self._kind:
                continue
            try:
                if self._is_due(self._policy, aggregate, before, receipt):
                    self._store_state(aggregate, Anchor(self._log.epoch, receipt.seq, receipt.event_id))
            except Exception as error:  # noqa: BLE001 - state() is the user's code, and the events are stored already
                logger.warning("no snapshot of %s: %s", aggregate.id, error)

    def _is_due(
        self, policy: SnapshotPolicy, aggregate: Aggregate, before: int | None, receipt: Receipt
    ) -> bool:
        if policy.counts(before, receipt.aggregate_version or 0):
            return True
        if policy.every_seconds is None and policy.when is None:
            return False
        last = event_at(self._log, receipt.seq)
        if last is None:  # dropped since, from a log in memory
            return False
        now_ns, since_ns = last.ts_ns or 0, aggregate._unsaved_since_ns  # noqa: SLF001 - made for this
        if since_ns is None:
            aggregate._unsaved_since_ns = now_ns  # noqa: SLF001 - made for this
        elif policy.is_old(since_ns, now_ns):
            return True
        return policy.when is not None and policy.when(aggregate.state(), last)

    def _load(self, aggregate_id: str, target: Target) -> "_Loaded[A]":
        loaded = self._loaded(aggregate_id, target, is_snapshot_used=True)
        return loaded or cast("_Loaded[A]", self._loaded(aggregate_id, target, is_snapshot_used=False))

    def _loaded(self, aggregate_id: str, target: Target, *, is_snapshot_used: bool) -> "_Loaded[A] | None":
        """The aggregate; None where a snapshot that looked usable could not be restored."""
        versions = {self._kind.__name__: self._kind.reducer_version}

        def accepts(stored: StoredSnapshot) -> bool:
            return is_snapshot_used and stored.kind == AGGREGATE and stored.reducers == versions

        aggregate = self._kind(aggregate_id)
        found, events = history(
            self._log, aggregate_id, target, accepts=accepts, name=self._snapshot_name(aggregate_id)
        )
        base, ignored = found.stored, found.damaged + found.refused
        if ignored and is_snapshot_used:
            logger.warning("%d unusable snapshots of %s ignored", ignored, aggregate_id)
        if base is not None:
            try:
                aggregate._restored(base.snapshot.state_data, base.aggregate_version)  # noqa: SLF001 - made for this
            except Exception:
                logger.exception("a snapshot of %s cannot be restored; its state is rebuilt", aggregate_id)
                return None
        last = aggregate._replay(events, self._present)  # noqa: SLF001 - made for this
        return _Loaded(aggregate, base, last)

    def _store_state(self, aggregate: Aggregate, anchor: Anchor) -> EventSnapshot:
        """Store its state, that after the event at ``anchor``. Raises EncodeError, StorageError and its kin."""
        state = aggregate.state()
        if not _is_plain(state):
            raise EncodeError(
                f"its state holds more than plain JSON; override state() and restore() of {self._kind.__name__}",
                value_path="$.state",
            )
        name = self._snapshot_name(aggregate.id)
        stored = StoredSnapshot(
            EventSnapshot(str(uuid.uuid4()), utc_now(), name, anchor.seq, state),
            kind=AGGREGATE,
            aggregate_version=aggregate.version,
            reducers={self._kind.__name__: self._kind.reducer_version},
            anchor=anchor,
        )
        snapshot_record.write(self._log, stored, KEPT if self._policy is None else self._policy.kept)
        aggregate._unsaved_since_ns = None  # noqa: SLF001 - made for this
        return stored.snapshot

    def _snapshot_name(self, aggregate_id: str) -> str:
        """Apart from the snapshots that reducers make of the same aggregate."""
        return f"{self._kind.__name__}({aggregate_id})"


class _Loaded(NamedTuple, Generic[A]):
    """An aggregate, the snapshot that it was loaded from, and the last event that was folded on top of it."""

    aggregate: A
    base: StoredSnapshot | None
    last: Event | None


def policy_of(every: int | None, policy: SnapshotPolicy | None) -> SnapshotPolicy | None:
    """What ``snapshot_every`` and ``snapshot_policy`` say. Raises ValueError where both do, and for less than 1."""
    if every is None:
        return policy
    if policy is not None:
        raise ValueError("snapshot_every is short for a snapshot_policy; give one of them")
    if every < 1:
        raise ValueError(f"snapshot_every: got {every}, takes 1 and more, or None")
    return SnapshotPolicy(every_events=every)


def defaults_of(
    source: str,
    correlation_id: str | None,
    causation_id: str | None,
    durability: Durability | None,
    *,
    is_tracked: bool = True,
) -> dict[str, Any]:
    """What is the same for all events of a batch; within a handler the ids are inherited unless given."""
    handled = handled_event.get() if is_tracked else None
    if handled is not None:
        correlation_id, causation_id = inherit(handled, correlation_id, causation_id)
    return {
        "source": source,
        "correlation_id": correlation_id,
        "causation_id": causation_id,
        "durability": durability,
    }


def append_decided(log: Log, aggregates: tuple[Aggregate, ...], defaults: dict[str, Any]) -> list[Receipt]:
    """One batch of all that is pending, each aggregate at the version it was loaded at."""
    if len({one.id for one in aggregates}) < len(aggregates):
        raise ValueError("save() was given one aggregate twice; each decides on its own copy of the state")
    if not any(one.pending for one in aggregates):
        return []
    events = [{**pending.keywords(), "aggregate_id": one.id} for one in aggregates for pending in one.pending]
    # Also of those that decided nothing: they were decided on.
    expected = {one.id: Expected.NONE if one.version is None else one.version for one in aggregates}
    return log.append_many(events, expected=expected, **defaults)


def note_saved(aggregates: tuple[Aggregate, ...], receipts: list[Receipt]) -> list[Saved]:
    """Tell the aggregates that they are saved; those that were, with the version before and the last receipt."""
    saved, at = [], 0
    for one in aggregates:
        at += len(one.pending)
        if one.pending:
            saved.append((one, one.version, receipts[at - 1]))
            one._saved(receipts[at - 1].aggregate_version)  # noqa: SLF001 - made for this
    return saved


def _is_plain(value: Any) -> bool:
    """Whether the value is exactly what JSON gives back: a snapshot must restore the very state it is of."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and _is_plain(one) for key, one in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    return value is None or kind in {str, int, bool} or (kind is float and math.isfinite(value))
