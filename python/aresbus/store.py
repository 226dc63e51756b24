"""Event stores: the interface that Ares code knows, and its two implementations on the log.

Owns how an event of the user's becomes a record and comes back as it was. Delivery is not its business.
Invariants: a saved event is in the log before its number is written back; both ends of a range are inclusive;
nothing that waits for the disk holds the loop.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from os import PathLike, fspath
from typing import Any, Literal

from aresbus import snapshot_record
from aresbus._core import Event
from aresbus._typing import override
from aresbus.errors import LogClosedError
from aresbus.events import DEFAULT_VERSION, VERSION_TAG, EventMetadata, EventSnapshot, ns_of_datetime
from aresbus.log import Log
from aresbus.places import anchor_of, event_at
from aresbus.snapshot_record import StoredSnapshot

__all__ = ["FileEventStore", "IEventStore", "LogEventStore", "MemoryEventStore"]

READ_AT_ONCE = 1_000
"""Events read before the loop gets its turn: about a millisecond."""


class IEventStore(ABC):
    """Where events and snapshots are kept. Write your own by passing aresbus.testing.EventStoreContract."""

    @abstractmethod
    async def save_event(self, event: Event) -> bool:
        """Store the event; its position becomes ``event.metadata.sequence_number``. True once it is stored."""

    @abstractmethod
    async def get_events(
        self,
        aggregate_id: str | None = None,
        from_sequence: int = 0,
        to_sequence: int | None = None,
        event_types: Iterable[str] | None = None,
    ) -> list[Event]:
        """Stored events in order: of one aggregate or all, both ends inclusive, of these types or all."""

    @abstractmethod
    async def save_snapshot(self, snapshot: EventSnapshot) -> bool:
        """Store the snapshot. True once it is stored."""

    @abstractmethod
    async def get_latest_snapshot(self, aggregate_id: str) -> EventSnapshot | None:
        """The stored snapshot of the aggregate with the highest sequence number, or None."""


class LogEventStore(IEventStore):
    """A store on a log that is opened at the first use. What both stores of aresbus are."""

    def __init__(self, open_log: Callable[[], Log]) -> None:
        """``open_log`` opens the log, and opens it again after :meth:`close`."""
        self._open_log = open_log
        self._lock = threading.Lock()
        self._log: Log | None = None
        self._is_closed = False

    @property
    def log(self) -> Log:
        """The log, opened at the first use: blocks for the disk then. Raises LogClosedError after close()."""
        log = self._log
        if log is None:
            if self._is_closed:
                raise LogClosedError("the event store was closed")
            log = self.open()
        return log

    def open(self) -> Log:
        """Open the log, also after :meth:`close`; the one that is open already, if there is one."""
        with self._lock:
            if self._log is None or self._log.is_closed:
                self._log = self._open_log()
            self._is_closed = False
            return self._log

    def close(self) -> None:
        """Sync and close the log. Idempotent. A store that is dropped instead releases its lock too."""
        with self._lock:
            log, self._log, self._is_closed = self._log, None, True
        if log is not None:
            log.close()

    def open_again(self) -> Log:
        """The log once more, as its files are now, for :meth:`exchange`; two at a time are possible in mode "r" alone."""
        return self._open_log()

    def exchange(self, log: Log) -> None:
        """Use ``log`` from now on. The one before stays open, for who is reading from it. Raises LogClosedError."""
        with self._lock:
            if self._is_closed:
                log.close()
                raise LogClosedError("the event store was closed")
            self._log = log

    @property
    def is_open(self) -> bool:
        """Whether the log has been opened and not closed since."""
        return self._log is not None and not self._log.is_closed

    @override
    async def save_event(self, event: Event) -> bool:
        """Store the event as it is: ids, time, tags, versions. Status and retry count are no part of it.

        Durable on return as the log's durability says. Raises EncodeError, LimitError, StorageError; ValueError
        for a naive timestamp.
        """
        metadata: EventMetadata = event.metadata
        log = self.log
        keywords = _keywords(metadata)
        text = str(event.event_type)
        if isinstance(event.data, bytes | bytearray | memoryview):
            receipt = log.append_bytes(text, event.data, durability="none", **keywords)
        else:
            receipt = log.append(text, event.data, durability="none", **keywords)
        metadata.sequence_number = receipt.seq
        durable = log.durable_seq
        if waits_for_disk(log) and (durable is None or durable < receipt.seq):
            await asyncio.to_thread(log.sync)
        return True

    @override
    async def get_events(
        self,
        aggregate_id: str | None = None,
        from_sequence: int = 0,
        to_sequence: int | None = None,
        event_types: Iterable[str] | None = None,
    ) -> list[Event]:
        """As the interface says. Raises CorruptionError, TruncatedError, LogClosedError."""
        types = None if event_types is None else [str(one) for one in event_types]
        if types == [] or (to_sequence is not None and to_sequence < max(from_sequence, 0)):
            return []
        found = self.log.read(
            after=from_sequence - 1 if from_sequence > 0 else None,
            up_to=to_sequence,
            types=types,
            aggregate_id=aggregate_id,
        )
        events: list[Event] = []
        while batch := list(islice(found, READ_AT_ONCE)):
            events += batch
            await asyncio.sleep(0)
        return events

    @override
    async def save_snapshot(self, snapshot: EventSnapshot) -> bool:
        """Durable on return, and anchored to the event at its sequence number, if there is one."""
        log = self.log
        event = event_at(log, snapshot.sequence_number)
        own = event if event is not None and event.aggregate_id == snapshot.aggregate_id else None
        stored = StoredSnapshot(
            snapshot,
            aggregate_version=None if own is None else own.aggregate_version,
            anchor=None if event is None else anchor_of(event),
        )
        await asyncio.to_thread(snapshot_record.write, log, stored)
        return True

    @override
    async def get_latest_snapshot(self, aggregate_id: str) -> EventSnapshot | None:
        """As the interface says; damaged and unanchored snapshots are passed over."""
        found = await asyncio.to_thread(snapshot_record.newest_usable, self.log, aggregate_id)
        return None if found.stored is None else found.stored.snapshot


class FileEventStore(LogEventStore):
    """A store on a durable log in a directory, opened at the first use; one writer, many readers."""

    def __init__(
        self,
        storage_path: str | PathLike[str] = "event_store",
        *,
        mode: Literal["rw", "r"] = "rw",
        audit: bool = True,
        log_options: Mapping[str, Any] | None = None,
    ) -> None:
        """``log_options`` are keywords of :func:`aresbus.open`; nothing is opened or created yet."""
        path, options = fspath(storage_path), dict(log_options or {})
        super().__init__(lambda: Log(path, mode=mode, audit=audit, **options))
        self.storage_path = path


class MemoryEventStore(LogEventStore):
    """A store in anonymous memory: the same engine, nothing on disk; beyond 256 MiB the oldest go first."""

    def __init__(self, *, log_options: Mapping[str, Any] | None = None) -> None:
        """``log_options`` are keywords of :class:`aresbus.Log`."""
        options = dict(log_options or {})
        super().__init__(lambda: Log(None, **options))


def waits_for_disk(log: Log, durability: str | None = None) -> bool:
    """Whether an append with ``durability`` (None: the log's own) is to wait until it is durable."""
    return (durability or log.durability) in ("group", "always") and log.path is not None


def _keywords(metadata: EventMetadata) -> dict[str, Any]:
    tags = metadata.tags
    if metadata.version != DEFAULT_VERSION:
        tags = {**tags, VERSION_TAG: metadata.version}
    return {
        "source": metadata.source,
        "correlation_id": metadata.correlation_id,
        "causation_id": metadata.causation_id,
        "aggregate_id": metadata.aggregate_id,
        "tags": tags,
        "event_id": metadata.event_id,
        "event_time_ns": ns_of_datetime(metadata.timestamp),
        "schema_version": metadata.schema_version,
    }
