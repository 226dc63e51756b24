"""Rebuilding one aggregate on a log: the newest usable snapshot and the events after it, up to any place.

Owns what "up to" means, which snapshot serves for it, and that no event is missing in between. What is folded, and
how, is the caller's. Invariants: a snapshot that may lie beyond the target is not used; a state never leaves out
events that retention dropped.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain, takewhile
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from aresbus import snapshot_record
from aresbus._core import Event, Log
from aresbus.errors import TruncatedError
from aresbus.events import ns_of_datetime
from aresbus.reducers import Present, Reducers, as_stored
from aresbus.snapshot_record import GIVEN, STATE, Search, StoredSnapshot

__all__ = ["NOW", "Rebuilt", "Recipe", "Target", "history", "rebuild", "rebuild_to"]

LAST_NS = 2**63 - 1
"""The latest time a record can hold: the year 2262."""


@dataclass(frozen=True, slots=True)
class Target:
    """Up to where a state is rebuilt. Every bound that is given holds, each inclusive; none: to now.

    ``time_ns`` means the newest event of the aggregate appended at that time or before, and all events before that
    one: a clock that was set back leaves no hole in a state.
    """

    version: int | None = None
    seq: int | None = None
    time_ns: int | None = None

    @classmethod
    def of(
        cls, to_version: int | None = None, to_seq: int | None = None, to_time: datetime | int | None = None
    ) -> Self:
        """Check what a user gave. Raises ValueError for a negative number and a naive datetime, TypeError."""
        time_ns = ns_of_datetime(to_time) if isinstance(to_time, datetime) else _number("to_time", to_time)
        return cls(_number("to_version", to_version), _number("to_seq", to_seq), time_ns)

    def reaches(self, aggregate_id: str, seq: int, event: Event | None) -> bool:
        """Whether a state at ``seq``, where ``event`` stands, certainly lies within the target."""
        if self.seq is not None and seq > self.seq:
            return False
        if self.version is None and self.time_ns is None:
            return True
        # A user's own snapshot may be of a place where the log has no event of this aggregate, or none at all.
        if event is None or event.aggregate_id != aggregate_id:
            return False
        is_in_version = self.version is None or (event.aggregate_version or 0) <= self.version
        return is_in_version and (self.time_ns is None or (event.ts_ns or 0) <= self.time_ns)


NOW = Target()
"""Everything appended so far."""


class Recipe(NamedTuple):
    """What makes a state of events: who folds them, as what they are seen, and in which versions of their schemas."""

    reducers: Reducers
    present: Present = as_stored
    schemas: Mapping[str, str] = MappingProxyType({})

    def made(self, stored: StoredSnapshot, aggregate_id: str) -> bool:
        """Whether a snapshot of reducers is one that this recipe would make today."""
        is_same = (
            stored.reducers == self.reducers.versions_of(aggregate_id) and stored.schemas == self.schemas
        )
        return stored.kind == STATE and is_same


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A state, and what it was made from."""

    state: dict[str, Any]
    version: int | None
    """Version of the aggregate's last event in the state; None: it holds none, or a user's snapshot of no event."""
    seq: int | None
    """Position of that event."""
    last: Event | None
    """The event itself; None where no event was folded on top of ``base``."""
    base: StoredSnapshot | None
    """The snapshot it began with, if there was a usable one."""
    ignored_snapshots: int
    """Newer snapshots that could not be used, for whatever reason."""
    damaged_snapshots: int
    """Those of them that are unreadable or altered, or whose event is no longer the one at their place."""
    is_known: bool
    """Whether a reducer knew any of the events folded on top of ``base``."""
    reducers: dict[str, int]
    """Version of each reducer that was asked."""


def rebuild(
    log: Log,
    aggregate_id: str,
    reducers: Reducers,
    *,
    to_version: int | None = None,
    to_seq: int | None = None,
    to_time: datetime | int | None = None,
    present: Present = as_stored,
) -> Rebuilt:
    """The state of an aggregate now, or as it was: after its event of a version, at a position, at a time.

    Bounds are inclusive, and all given ones hold; ``to_time`` is an aware datetime or ns since 1970 and speaks of the
    time of the append. An aggregate without events in reach has the state ``{}``. ``present`` is applied to each
    event before it is folded. Blocks for the disk; any thread; writes nothing.

    Raises TruncatedError where events that belong to the state are no longer kept, ValueError and TypeError for
    impossible bounds, CorruptionError, LogClosedError, and what a reducer raises.
    """
    return rebuild_to(log, aggregate_id, Recipe(reducers, present), Target.of(to_version, to_seq, to_time))


def rebuild_to(
    log: Log, aggregate_id: str, recipe: Recipe, target: Target = NOW, *, from_zero: bool = False
) -> Rebuilt:
    """As :func:`rebuild`, for a target that is checked already; ``from_zero``: without any snapshot."""

    def accepts(stored: StoredSnapshot) -> bool:
        return not from_zero and (stored.kind == GIVEN or recipe.made(stored, aggregate_id))

    versions = recipe.reducers.versions_of(aggregate_id)
    found, events = history(log, aggregate_id, target, accepts=accepts)
    base = found.stored
    state = {} if base is None else base.snapshot.state_data
    folded = recipe.reducers.fold(aggregate_id, state, events, recipe.present)
    last = folded.last
    if last is not None:
        version, seq = last.aggregate_version, last.seq
    elif base is not None:
        version, seq = base.aggregate_version, base.snapshot.sequence_number
    else:
        version = seq = None
    ignored = found.damaged + found.refused
    return Rebuilt(folded.state, version, seq, last, base, ignored, found.damaged, folded.is_known, versions)


def history(
    log: Log,
    aggregate_id: str,
    target: Target = NOW,
    *,
    accepts: Callable[[StoredSnapshot], bool],
    name: str | None = None,
) -> tuple[Search, Iterable[Event]]:
    """The newest usable snapshot, and the events after it up to the target.

    ``name`` is that under which the snapshots are kept; None: the aggregate's id. Raises as :func:`rebuild`.
    """
    found = snapshot_record.newest_usable(
        log,
        aggregate_id if name is None else name,
        accepts=accepts,
        is_within=partial(target.reaches, aggregate_id),
    )
    return found, _up_to(log, aggregate_id, found.stored, target)


def _up_to(log: Log, aggregate_id: str, base: StoredSnapshot | None, target: Target) -> Iterable[Event]:
    seq = target.seq
    if target.time_ns is not None:
        newest = _newest_at(
            log, aggregate_id, None if base is None else base.snapshot.sequence_number, target
        )
        if newest is None:
            _complete(log, aggregate_id, base, seq)  # for what it raises: the event may be one that is gone
            return ()
        seq = newest
    events = _complete(log, aggregate_id, base, seq)
    highest = target.version
    if highest is None:
        return events
    return takewhile(lambda event: (event.aggregate_version or 0) <= highest, events)


def _newest_at(log: Log, aggregate_id: str, after: int | None, target: Target) -> int | None:
    """Position of the aggregate's newest event of that time or before, beyond ``after``."""
    first_seq = log.first_seq
    if first_seq > 0 and (after is None or after + 1 < first_seq):
        after = first_seq - 1
    if target.seq is not None and target.seq < first_seq:
        return None
    until = max(0, min((target.time_ns or 0) + 1, LAST_NS))
    newest = None
    for event in log.read(after=after, up_to=target.seq, until=until, aggregate_id=aggregate_id):
        newest = event.seq
    return newest


def _complete(log: Log, aggregate_id: str, base: StoredSnapshot | None, up_to: int | None) -> Iterable[Event]:
    """The aggregate's events after those in ``base``; TruncatedError where some of them are no longer kept."""
    after = None if base is None else base.snapshot.sequence_number
    first_seq = log.first_seq
    oldest = first_seq - 1 if first_seq else None  # said, or what is gone would be missed
    read = partial(log.read, up_to=up_to, aggregate_id=aggregate_id)
    if after is not None and after == up_to:
        return ()
    if after is not None and after + 1 >= first_seq:
        return read(after=after)
    if up_to is not None and up_to < first_seq:
        return _before_the_oldest(log, aggregate_id, base, up_to)
    events = read(after=oldest)
    first = next(events, None)
    # Where there is none up to there, the first one that is kept says whether there were others before it.
    known = first or (
        next(log.read(after=oldest, limit=1, aggregate_id=aggregate_id), None) if first_seq > 0 else None
    )
    if known is not None:
        is_missing = known.aggregate_prev is not None and (after is None or known.aggregate_prev > after)
    else:
        head = log.aggregate_version(aggregate_id) if first_seq > 0 else None
        is_missing = head is not None and (base is None or base.aggregate_version != head)
    if is_missing:
        raise TruncatedError(
            f"events of {aggregate_id} before {first_seq} are no longer kept", first_seq=first_seq
        )
    return () if first is None else chain((first,), events)


def _before_the_oldest(
    log: Log, aggregate_id: str, base: StoredSnapshot | None, up_to: int
) -> Iterable[Event]:
    """No events, where none can be missing between ``base`` and a bound that lies before all that is kept."""
    after = None if base is None else base.snapshot.sequence_number
    first_kept = next(log.read(after=log.first_seq - 1, limit=1, aggregate_id=aggregate_id), None)
    was_before = log.aggregate_version(aggregate_id) if first_kept is None else first_kept.aggregate_prev
    if after == up_to or was_before is None:
        return ()
    known = None if base is None else base.aggregate_version if first_kept is None else after
    if known is not None and was_before <= known:
        return ()
    raise TruncatedError(
        f"events of {aggregate_id} before {log.first_seq} are no longer kept", first_seq=log.first_seq
    )


def _number(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        takes = "an aware datetime or ns since 1970" if name == "to_time" else "an int"
        raise TypeError(f"{name}: got {value!r}, takes {takes}")
    if value < 0:
        raise ValueError(f"{name}: got {value}, takes 0 and more")
    return value
