"""Projections: what a program wants to know, kept up to date from a log, its position stored with the result.

Owns the run over the log, and when a result is not to be believed. Where state and position are kept is the store's:
one in memory here, one in an SQLite file in sqlite_projections. Invariants: state and position change in one
transaction, so that no event is skipped or applied twice, whenever the process dies; a position is believed only
while its event is still the one at that place; a store that survives power loss never runs ahead of the log's
`durable_seq`.
"""

import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from aresbus._core import Event, Log
from aresbus.errors import ProjectionError, TruncatedError
from aresbus.places import Anchor, event_at, stands
from aresbus.reducers import Present, as_stored

__all__ = [
    "MemoryProjectionStore",
    "Projection",
    "ProjectionPosition",
    "ProjectionStore",
    "ProjectionTransaction",
    "Updated",
]

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

Handler: TypeAlias = Callable[[T, Event], None]
"""Changes the state for one event."""
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the events examined so far and their number in all."""

EVENTS_AT_ONCE = 1_000
"""Most events of one transaction: it costs as much as applying some tens of them, and holds off others for a few ms."""
WORTH_NOTING = 10_000
"""So many events that are none of a projection's and its position moves over them, lest each update read them again."""
LOOK_SECONDS = 0.1
"""How soon :meth:`Projection.follow` sees that it is to stop."""
DURABLE_SECONDS = 0.01
"""Pause of a follower while events are committed that are not durable yet."""


@dataclass(frozen=True, slots=True)
class ProjectionPosition:
    """How far which projection came in which log: everything up to ``seq`` is in the state."""

    projection: str
    version: int
    log_id: str
    seq: int | None = None
    """None: nothing yet."""
    epoch: int | None = None
    event_id: str | None = None
    """Epoch and id of the event at ``seq``."""

    @property
    def anchor(self) -> Anchor | None:
        """The event at ``seq`` as a place; None: nothing yet."""
        if self.seq is None or self.epoch is None or self.event_id is None:
            return None
        return Anchor(self.epoch, self.seq, self.event_id)


@dataclass(slots=True)
class ProjectionTransaction(Generic[T]):
    """State and position, changed together. Leaving it without an error makes both permanent, with an error neither."""

    state: T
    """What handlers change."""
    position: ProjectionPosition | None
    """To be assigned; None: nothing is known, the state counts for nothing."""
    clear: Callable[[], None]
    """Make the state as empty as that of a new store."""


class ProjectionStore(Protocol[T]):
    """Where a projection keeps its state, a ``T``, and its position. One projection in one store."""

    is_durable: bool
    """Whether what is stored survives power loss, or at least may."""

    def transaction(self) -> AbstractContextManager[ProjectionTransaction[T]]:
        """Begin to change; no other process gets between. On leaving, both state and position stand, or neither."""


class MemoryProjectionStore:
    """State as a dict in memory, gone with the process. After a handler that raised it is empty and is built anew."""

    is_durable = False

    def __init__(self) -> None:
        """Empty."""
        self.state: dict[str, Any] = {}
        """What the handlers made. The same dict for ever; not to be read while another thread updates."""
        self._position: ProjectionPosition | None = None

    @contextmanager
    def transaction(self) -> Iterator[ProjectionTransaction[dict[str, Any]]]:
        """As the protocol says."""
        transaction = ProjectionTransaction(self.state, self._position, self.state.clear)
        try:
            yield transaction
        except BaseException:
            self.state.clear()
            self._position = None
            raise
        self._position = transaction.position


class Updated(NamedTuple):
    """What an update did."""

    applied: int
    """Events that went to handlers."""
    seq: int | None
    """The last event that was looked at, wanted or not; None: the log is empty."""
    rebuilt: str | None
    """Why the state was thrown away and built from the first event; None: it was not, or there was none."""


class Projection(Generic[T]):
    """A state of type ``T`` that handlers keep, event by event, in a store.

    ``handlers`` maps event types to functions of the state and the event, which must depend on nothing else.
    ``initial`` prepares an empty state: creates tables, sets defaults. ``version`` is to be raised whenever the
    handlers change: the state is then rebuilt. ``present`` is applied to each stored event first. Where the log's
    first events are no longer kept, building raises TruncatedError, unless ``from_oldest_kept``.

    Thread-safe; one update at a time, across processes too if the store is shared. On a bus:
    ``await asyncio.to_thread(projection.update, bus.log)``.
    """

    def __init__(
        self,
        name: str,
        store: ProjectionStore[T],
        handlers: Mapping[str, Handler[T]],
        *,
        initial: Callable[[T], None] | None = None,
        version: int = 1,
        present: Present = as_stored,
        from_oldest_kept: bool = False,
    ) -> None:
        """Nothing is read or stored yet. Raises ValueError without name or handlers, TypeError for an async handler."""
        if not name or not handlers:
            raise ValueError("a projection has a name and at least one handler")
        for event_type, handler in handlers.items():
            if inspect.iscoroutinefunction(handler) or not callable(handler):
                raise TypeError(f"the handler of {event_type} is no plain function: {handler!r}")
        self.name: str = name
        self.version: int = version
        self.store: ProjectionStore[T] = store
        self._handlers: dict[str, Handler[T]] = {str(text): one for text, one in handlers.items()}
        self._initial, self._present = initial, present
        self._from_oldest_kept = from_oldest_kept
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def position(self) -> ProjectionPosition | None:
        """What is stored of how far it came; None where nothing is."""
        with self._lock, self.store.transaction() as transaction:
            return transaction.position

    def update(self, log: Log, *, progress: Progress | None = None) -> Updated:
        """Apply what the log has beyond the position, up to its end as of now, a thousand events a transaction.

        With a durable store only durable events count: a writer's log is synced first, a reader's trails. The state
        is built anew where ``version`` is another, and where the event at the position is no longer the one that
        was applied, because a power loss took it; that is logged and told in the result.

        Blocks for the disk. Raises ProjectionError where a handler raises, its exception as ``__cause__``, the
        transaction undone; and where the store belongs to another projection or log. Raises TruncatedError,
        CorruptionError, LogClosedError, LogPoisonedError, and what the store raises.
        """
        with self._lock:
            end = self._end(log)
            applied, rebuilt = 0, None
            while True:
                batch = self._batch(log, end)
                applied += batch.applied
                rebuilt = rebuilt or batch.rebuilt
                if progress is not None:
                    progress(0 if batch.seq is None else batch.seq + 1, 0 if end is None else end + 1)
                if batch.seq == end or end is None:
                    return Updated(applied, end, rebuilt)

    def follow(self, log: Log, *, timeout: float | None = None) -> None:
        """:meth:`update`, and again whenever events come, until ``timeout`` seconds pass without any, or :meth:`stop`.

        To be run in a thread. Raises as :meth:`update`.
        """
        quiet_since = time.monotonic()
        try:
            while not self._stopping.is_set():
                seen = self.update(log).seq
                if self._comes(log, seen):
                    quiet_since = time.monotonic()
                elif timeout is not None and time.monotonic() - quiet_since >= timeout:
                    return
        finally:
            self._stopping.clear()

    def stop(self) -> None:
        """End :meth:`follow`, within a moment; also one that has not begun yet. Any thread."""
        self._stopping.set()

    def reset(self) -> None:
        """Throw the state away; the next :meth:`update` builds it from the first event."""
        with self._lock, self.store.transaction() as transaction:
            self._empty(transaction)
            transaction.position = None

    def rebuild(self, log: Log, *, progress: Progress | None = None) -> Updated:
        """:meth:`reset` and :meth:`update`. Killed in between it goes on where it was. Raises as :meth:`update`.

        ``progress(done, total)`` is called after each transaction. TruncatedError leaves the state as it is.
        """
        self._check_whole(log)
        self.reset()
        return self.update(log, progress=progress)

    def _end(self, log: Log) -> int | None:
        last = log.last_seq
        if last is None or not self.store.is_durable:
            return last
        durable = log.durable_seq
        if log.mode == "rw" and (durable is None or durable < last):
            return log.sync()
        return durable

    def _comes(self, log: Log, seen: int | None) -> bool:
        """Whether there is an event beyond ``seen``; waits a moment for one."""
        if not log.wait(seen, LOOK_SECONDS):
            return False
        if self.store.is_durable and log.mode == "r":
            self._stopping.wait(DURABLE_SECONDS)
        return True

    def _batch(self, log: Log, end: int | None) -> Updated:
        """One transaction: what was applied, and up to which event, wanted or not, all is done."""
        with self.store.transaction() as transaction:
            position, rebuilt = transaction.position, self._distrust(log, transaction.position)
            if position is None or position.seq is None or rebuilt is not None:
                self._check_whole(log)
            if position is None or rebuilt is not None:
                self._empty(transaction)
                transaction.position = position = ProjectionPosition(self.name, self.version, log.log_id)
            if rebuilt is not None:
                logger.warning("projection %s is rebuilt: %s", self.name, rebuilt)
            if end is None or (position.seq is not None and position.seq >= end):
                return Updated(0, end, rebuilt)
            found = log.read(after=self._after(log, position), up_to=end, types=self._types)
            last, count = self._apply(transaction.state, islice(found, EVENTS_AT_ONCE))
            if last is not None:
                transaction.position = self._at(log, last)
            if count == EVENTS_AT_ONCE:
                return Updated(count, last.seq if last is not None else None, rebuilt)
            self._note_unwanted(log, transaction, end)
            return Updated(count, end, rebuilt)

    def _distrust(self, log: Log, position: ProjectionPosition | None) -> str | None:
        """Why the state counts for nothing. None: it does, or there is none. Raises ProjectionError."""
        if position is None:
            return None
        if position.projection != self.name:
            raise self._error(f"its store belongs to projection {position.projection}")
        if position.version != self.version:
            return f"its version is {self.version}, the state is of version {position.version}"
        if position.log_id != log.log_id:
            raise self._error(f"its state was made from log {position.log_id}, this is log {log.log_id}")
        seq, first_seq = position.seq, log.first_seq
        if seq is None:
            return None
        if seq < first_seq:
            has_gap = seq + 1 < first_seq and self._from_oldest_kept  # else reading on raises TruncatedError
            return f"events after {seq}, where it stood, are no longer kept" if has_gap else None
        if position.anchor is not None and stands(log, position.anchor):
            return None
        return f"the log lost event {position.event_id}, which stood at seq {seq}"

    def _check_whole(self, log: Log) -> None:
        if log.first_seq > 0 and not self._from_oldest_kept:
            raise TruncatedError(
                f"projection {self.name} cannot be built: events before {log.first_seq} are no longer kept",
                first_seq=log.first_seq,
            )

    def _empty(self, transaction: ProjectionTransaction[T]) -> None:
        transaction.clear()
        if self._initial is not None:
            self._initial(transaction.state)

    @property
    def _types(self) -> list[str] | None:
        """The stored types to read. What ``present`` makes of an event may have another type than the event."""
        return list(self._handlers) if self._present is as_stored else None

    @staticmethod
    def _after(log: Log, position: ProjectionPosition) -> int | None:
        if position.seq is None:
            return log.first_seq - 1 if log.first_seq else None
        return position.seq

    def _apply(self, state: T, events: Iterator[Event]) -> tuple[Event | None, int]:
        last, count = None, 0
        for last in events:
            count += 1
            try:
                for part in self._present(last):
                    handler = self._handlers.get(part.event_type)
                    if handler is not None:
                        handler(state, part)
            except Exception as error:
                raise self._error(
                    f"its handler of {last.event_type} raised {type(error).__name__} at seq {last.seq}",
                    seq=last.seq,
                    event_id=last.event_id,
                ) from error
        return last, count

    def _note_unwanted(self, log: Log, transaction: ProjectionTransaction[T], end: int) -> None:
        """Move the position over events that nobody wants, where there are many."""
        position = transaction.position
        seq = position.seq if position is not None else None
        if end - (0 if seq is None else seq) >= WORTH_NOTING:
            event = event_at(log, end)
            if event is not None:
                transaction.position = self._at(log, event)

    def _at(self, log: Log, event: Event) -> ProjectionPosition:
        return ProjectionPosition(self.name, self.version, log.log_id, event.seq, event.epoch, event.event_id)

    def _error(self, what: str, **fields: Any) -> ProjectionError:
        return ProjectionError(f"projection {self.name}: {what}", projection=self.name, **fields)
