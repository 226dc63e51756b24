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
from aresbus._core import Durability, Expected, Receipt
from aresbus.aggregates import Aggregate
from aresbus.conflicts import RETRIES, retry_on_conflict
from aresbus.correlation import handled_event, inherit
from aresbus.events import EventSnapshot, utc_now
from aresbus.log import Log
from aresbus.rebuilding import Target, history
from aresbus.reducers import Present, as_stored
from aresbus.snapshot_record import AGGREGATE, StoredSnapshot

__all__ = ["Executed", "Repository", "append_decided", "defaults_of", "note_saved"]

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

    ``snapshot_every``: a snapshot is made whenever that many events more of an aggregate are stored, at the first
    save after; None: never. ``present`` is applied to each stored event before it is folded.
    """

    def __init__(
        self,
        log: Log,
        kind: type[A],
        *,
        snapshot_every: int | None = None,
        present: Present = as_stored,
    ) -> None:
        """``kind(aggregate_id)`` makes an aggregate without events. Raises ValueError for ``snapshot_every`` below 1."""
        if snapshot_every is not None and snapshot_every < 1:
            raise ValueError(f"snapshot_every: got {snapshot_every}, takes 1 and more, or None")
        self._log, self._kind = log, kind
        self._snapshot_every, self._present = snapshot_every, present

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
        loaded = self._loaded(aggregate_id, target, is_snapshot_used=True)
        return loaded or cast("A", self._loaded(aggregate_id, target, is_snapshot_used=False))

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

    def _loaded(self, aggregate_id: str, target: Target, *, is_snapshot_used: bool) -> A | None:
        """The aggregate; None where a snapshot that looked usable could not be restored."""
        versions = {self._kind.__name__: self._kind.reducer_version}

        def accepts(stored: StoredSnapshot) -> bool:
            return is_snapshot_used and stored.kind == AGGREGATE and stored.reducers == versions

        aggregate = self._kind(aggregate_id)
        base, ignored, events = history(
            self._log, aggregate_id, target, accepts=accepts, name=self._snapshot_name(aggregate_id)
        )
        if ignored and is_snapshot_used:
            logger.warning("%d unusable snapshots of %s ignored", ignored, aggregate_id)
        if base is not None:
            try:
                aggregate._restored(base.snapshot.state_data, base.aggregate_version)  # noqa: SLF001 - made for this
            except Exception:
                logger.exception("a snapshot of %s cannot be restored; its state is rebuilt", aggregate_id)
                return None
        aggregate._replay(events, self._present)  # noqa: SLF001 - made for this
        return aggregate

    def take_snapshots(self, saved: list[Saved]) -> None:
        """Make the snapshots that are due. Blocks for the disk; never raises for a state or a disk."""
        every = self._snapshot_every
        for aggregate, before, receipt in saved:
            if every is None or type(aggregate) is not self._kind:
                continue
            had, has = -1 if before is None else before, receipt.aggregate_version or 0
            if (has + 1) // every > (had + 1) // every:
                self._take_snapshot(aggregate, receipt)

    def _take_snapshot(self, aggregate: Aggregate, receipt: Receipt) -> None:
        """Store its state. A failure is said and no more: the events are stored, and a snapshot is only a cache."""
        name = self._snapshot_name(aggregate.id)
        try:
            state = aggregate.state()
            if not _is_plain(state):
                logger.warning(
                    "no snapshot of %s: its state holds more than plain JSON; override state() and restore() of %s",
                    aggregate.id,
                    self._kind.__name__,
                )
                return
            snapshot = EventSnapshot(str(uuid.uuid4()), utc_now(), name, receipt.seq, state)
            stored = StoredSnapshot(
                snapshot,
                kind=AGGREGATE,
                aggregate_version=receipt.aggregate_version,
                reducers={self._kind.__name__: self._kind.reducer_version},
                event_id=receipt.event_id,
                epoch=self._log.epoch,
            )
            snapshot_record.write(self._log, stored)
        except Exception as error:  # noqa: BLE001 - state() is the user's code, and the events are stored already
            logger.warning("no snapshot of %s: %s", aggregate.id, error)

    def _snapshot_name(self, aggregate_id: str) -> str:
        """Apart from the snapshots that reducers make of the same aggregate."""
        return f"{self._kind.__name__}({aggregate_id})"


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
