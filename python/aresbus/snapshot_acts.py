"""What is done to the snapshots of a log by hand: made, listed, checked against the events, dropped.

Owns what a check says of each, and that dropping is an act on record. When the bus makes them is snapshots' business.
Invariants: a check changes nothing and uses no snapshot; none is dropped, unless forced, whose state the events that are
kept could not give again.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

from aresbus import snapshot_record
from aresbus._core import Log as CoreLog
from aresbus.aggregates import Aggregate
from aresbus.errors import TruncatedError
from aresbus.events import EventSnapshot, utc_now
from aresbus.log import Log
from aresbus.places import anchor_of
from aresbus.rebuilding import NOW, Rebuilt, Recipe, Target, history, rebuild_to
from aresbus.reducers import Present, Reducers, as_stored
from aresbus.snapshot_record import AGGREGATE, GIVEN, KEPT, METRICS, STATE, StoredSnapshot

__all__ = [
    "CheckedSnapshot",
    "SnapshotVerdict",
    "Taken",
    "check_snapshots",
    "checked",
    "drop_snapshots",
    "list_snapshots",
    "take",
    "take_snapshot",
]

SnapshotVerdict: TypeAlias = Literal[
    "sound", "differs", "damaged", "displaced", "outdated", "unprovable", "unchecked", "listed"
]
Judge: TypeAlias = Callable[[StoredSnapshot], tuple[SnapshotVerdict, str]]
"""Verdict and reason of a snapshot that is intact and stands where it should."""
FAULTS = frozenset({"differs", "damaged", "displaced"})


@dataclass(frozen=True, slots=True)
class CheckedSnapshot:
    """One snapshot of a log, and what there is to say of it."""

    file_name: str
    """In the folder ``snapshots`` of the log."""
    aggregate_id: str | None
    """None where it is damaged. Of an :class:`Aggregate` the class and its id: ``Order(order-2)``."""
    seq: int
    """Position of the event that it is of."""
    kind: str | None
    """``state`` (of reducers), ``aggregate``, ``given`` (through ``save_snapshot``), ``metrics``; None where it is damaged."""
    aggregate_version: int | None
    taken: datetime | None
    verdict: SnapshotVerdict
    """``sound``: folding from the first event gives this very state. ``differs``: it gives another one. ``damaged``: it is
    unreadable or altered. ``displaced``: its event is no longer the one at its place. ``outdated``: it was made by other
    reducers, or other versions of them or of schemas. ``unprovable``: events that it holds are no longer kept.
    ``unchecked``: nobody here can fold it. ``listed``: it is intact, and was not compared."""
    reason: str
    """"" where there is nothing to add."""

    @property
    def is_fault(self) -> bool:
        """Whether something is wrong with it. None of these is ever used, but for one that ``differs``."""
        return self.verdict in FAULTS

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "taken": None if self.taken is None else self.taken.isoformat()}


class Taken(NamedTuple):
    """What came of taking a snapshot: None where there is no event, or none that a reducer knows; and its state."""

    snapshot: EventSnapshot | None
    rebuilt: Rebuilt


def take_snapshot(
    log: Log, aggregate_id: str, reducers: Reducers, *, present: Present = as_stored, kept: int = KEPT
) -> EventSnapshot | None:
    """Store a snapshot of an aggregate as it is now, and drop all but the ``kept`` newest; durable on return.

    None, and nothing is stored, where it has no event that a reducer knows. ``present`` as for :func:`aresbus.rebuild`.
    Blocks for the disk. Raises what :func:`aresbus.rebuild` raises, EncodeError for a state without JSON form,
    StorageError and its kin, also on a log that is open for reading.
    """
    return take(log, aggregate_id, Recipe(reducers, present), kept=kept).snapshot


def take(
    log: CoreLog,
    aggregate_id: str,
    recipe: Recipe,
    target: Target = NOW,
    *,
    kept: int = KEPT,
    now: datetime | None = None,
) -> Taken:
    """As :func:`take_snapshot`, of the state at a target."""
    rebuilt = rebuild_to(log, aggregate_id, recipe, target)
    last, base = rebuilt.last, rebuilt.base
    if last is None and base is not None and base.kind == STATE:
        return Taken(base.snapshot, rebuilt)  # it is there already
    if last is None or not (rebuilt.is_known or base is not None):
        return Taken(None, rebuilt)
    stored = StoredSnapshot(
        EventSnapshot(str(uuid.uuid4()), now or utc_now(), aggregate_id, last.seq or 0, rebuilt.state),
        kind=STATE,
        aggregate_version=last.aggregate_version,
        schema_version=last.schema_version,
        reducers=rebuilt.reducers,
        schemas=dict(recipe.schemas),
        anchor=anchor_of(last),
    )
    snapshot_record.write(log, stored, kept)
    return Taken(stored.snapshot, rebuilt)


def list_snapshots(log: Log, aggregate_id: str | None = None) -> list[CheckedSnapshot]:
    """Every snapshot of an aggregate, or of all, the newest of each first: ``listed``, ``damaged`` or ``displaced``.

    Reads each file; blocks for the disk; any thread. Raises StorageError and its kin.
    """
    return list(_described(log, aggregate_id, lambda _: ("listed", "")))


def check_snapshots(
    log: Log,
    reducers: Reducers | None = None,
    *,
    aggregates: Iterable[type[Aggregate]] = (),
    aggregate_id: str | None = None,
    present: Present = as_stored,
    schemas: Mapping[str, str] | None = None,
) -> list[CheckedSnapshot]:
    """Fold each snapshot's state from the first event, without any snapshot, and compare. Changes nothing.

    ``reducers`` fold what reducers made and what was given, ``aggregates`` are the classes whose snapshots repositories
    made. ``schemas``: the versions that ``present`` brings events to. Costs a rebuild from zero for each snapshot. Blocks
    for the disk; any thread. Raises CorruptionError, StorageError and its kin, and what a reducer raises.
    """
    recipe = Recipe(reducers or Reducers(), present, schemas or {})
    return checked(log, recipe, {one.__name__: one for one in aggregates}, aggregate_id)


def checked(
    log: CoreLog, recipe: Recipe, classes: Mapping[str, type[Aggregate]], aggregate_id: str | None
) -> list[CheckedSnapshot]:
    """As :func:`check_snapshots`."""

    def judge(stored: StoredSnapshot) -> tuple[SnapshotVerdict, str]:
        try:
            if stored.kind == AGGREGATE:
                return _judge_aggregate(log, stored, classes, recipe.present)
            return _judge_state(log, stored, recipe)
        except TruncatedError as error:
            return "unprovable", str(error)

    return list(_described(log, aggregate_id, judge))


def drop_snapshots(
    log: Log,
    aggregate_id: str | None = None,
    *,
    damaged_only: bool = False,
    force: bool = False,
    reason: str = "",
) -> list[CheckedSnapshot]:
    """Remove the snapshots of an aggregate, or of all, and give them; states are made from events from then on.

    An act on record, ``snapshots.drop``, with its ``reason``; durable on return. ``damaged_only``: those that are damaged or
    displaced. One whose first events are no longer kept stays, for its state would be lost, unless ``force``. Blocks for the
    disk. Raises StorageError and its kin, also on a log that is open for reading.
    """
    chosen = [
        one
        for one in list_snapshots(log, aggregate_id)
        if (not damaged_only or one.is_fault) and (force or one.is_fault or _is_replaceable(log, one))
    ]
    details = {"aggregate_id": aggregate_id, "damaged_only": damaged_only, "force": force}
    with log.act("snapshots.drop", details, reason=reason) as result:
        log._drop_snapshots([one.file_name for one in chosen])  # noqa: SLF001 - made for this
        result["count"] = len(chosen)
    return chosen


def _described(log: CoreLog, aggregate_id: str | None, judge: Judge) -> Iterator[CheckedSnapshot]:
    for seq, name in log._snapshots(aggregate_id):  # noqa: SLF001 - made for this
        try:
            stored = snapshot_record.read(log, seq, name)
        except FileNotFoundError:  # the writer has a newer one since the list was made
            continue
        if stored is None:
            what = "its checksum or digest does not fit, or it is of another version or log"
            yield CheckedSnapshot(name, aggregate_id, seq, None, None, None, "damaged", what)
            continue
        verdict: SnapshotVerdict = "displaced"
        reason = f"the event at {seq} is not the one that it is of"
        if snapshot_record.is_anchored(log, stored):
            verdict, reason = judge(stored)
        snapshot = stored.snapshot
        yield CheckedSnapshot(
            name, snapshot.aggregate_id, seq, stored.kind, stored.aggregate_version,
            snapshot.timestamp.astimezone(UTC), verdict, reason,
        )  # fmt: skip


def _judge_state(log: CoreLog, stored: StoredSnapshot, recipe: Recipe) -> tuple[SnapshotVerdict, str]:
    aggregate_id, seq = stored.snapshot.aggregate_id, stored.snapshot.sequence_number
    if stored.kind == METRICS:
        return "unchecked", "the figures of a bus are not made of events"
    if stored.kind != GIVEN and not recipe.made(stored, aggregate_id):
        return "outdated", "made by other reducers, or other versions of them or of schemas"
    rebuilt = rebuild_to(log, aggregate_id, recipe, Target(seq=seq), from_zero=True)
    if stored.kind == GIVEN and not rebuilt.is_known:
        return "unchecked", "no reducer knows its events"
    return _compared(stored, rebuilt.state, rebuilt.version)


def _judge_aggregate(
    log: CoreLog, stored: StoredSnapshot, classes: Mapping[str, type[Aggregate]], present: Present
) -> tuple[SnapshotVerdict, str]:
    name, _, rest = stored.snapshot.aggregate_id.partition("(")
    kind = classes.get(name)
    if kind is None:
        return "unchecked", f"the class {name} was not given"
    if stored.reducers != {name: kind.reducer_version}:
        return "outdated", f"made by another reducer_version of {name}"
    aggregate = kind(rest.removesuffix(")"))
    target = Target(seq=stored.snapshot.sequence_number)
    _, events = history(log, aggregate.id, target, accepts=lambda _: False, name=stored.snapshot.aggregate_id)
    aggregate._replay(events, present)  # noqa: SLF001 - made for this
    return _compared(stored, aggregate.state(), aggregate.version)


def _compared(
    stored: StoredSnapshot, state: dict[str, Any], version: int | None
) -> tuple[SnapshotVerdict, str]:
    try:
        is_same = _plain(state) == _plain(stored.snapshot.state_data)
    except TypeError as error:
        return "differs", f"folding from the first event gives a state without JSON form: {error}"
    if not is_same:
        return "differs", "folding from the first event gives another state"
    if stored.kind != GIVEN and stored.aggregate_version != version:
        return "differs", f"it says version {stored.aggregate_version}, its events end with {version}"
    return "sound", ""


def _plain(state: dict[str, Any]) -> bytes:
    """What is stored of a state, whatever order its keys came in."""
    return orjson.dumps(state, option=orjson.OPT_SORT_KEYS)


def _is_replaceable(log: CoreLog, one: CheckedSnapshot) -> bool:
    """Whether the state can be made of the events that are kept."""
    if one.kind == METRICS or log.first_seq == 0:
        return True
    aggregate_id = one.aggregate_id or ""
    if one.kind == AGGREGATE:
        aggregate_id = aggregate_id.partition("(")[2].removesuffix(")")
    try:
        history(log, aggregate_id, Target(seq=one.seq), accepts=lambda _: False)
    except TruncatedError:
        return False
    return True
