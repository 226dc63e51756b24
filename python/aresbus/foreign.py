"""A bus on a store of the user's own: the event is saved there first, then delivered through a log in memory.

Owns the event that such a store gets, and the live one that handlers get. Invariant: nothing is delivered that the
store did not take; both events share one metadata, so that the store's position is what handlers see.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from aresbus._core import Event, Expected, Log, Receipt
from aresbus.clock import Clock
from aresbus.correlation import inherit
from aresbus.delivery import Delivery
from aresbus.errors import StorageError
from aresbus.events import DEFAULT_VERSION, EventMetadata, datetime_of_ns, new_event_id, plain_json
from aresbus.metrics import Counters
from aresbus.store import IEventStore

__all__ = ["ForeignStore"]


class ForeignStore:
    """The user's store as one bus uses it."""

    def __init__(
        self,
        store: IEventStore,
        delivery: Delivery,
        counters: Counters,
        clock: Clock,
        speaks_for: ContextVar[Any] | None,
    ) -> None:
        """Deliver through ``delivery``, which works on a log in memory; ``speaks_for`` holds what ids are inherited from."""
        self._store, self._delivery, self._counters, self._clock = store, delivery, counters, clock
        self._speaks_for = speaks_for

    def accept(  # noqa: PLR0917 - in the order of publish
        self,
        event_type: str,
        data: Any,
        source: str,
        correlation_id: str | None,
        causation_id: str | None,
        aggregate_id: str | None,
        tags: Mapping[str, str] | None,
        event_id: str | None,
        event_time_ns: int | None,
        schema_version: str | None,
        expected_version: Expected | int,
    ) -> Event:
        """The event to be saved, refused now if it is to be refused. Raises EncodeError, ValueError."""
        if expected_version is not Expected.ANY:
            raise ValueError("expected_version needs a store of aresbus: IEventStore checks no versions")
        plain_json(data)
        handled = None if self._speaks_for is None else self._speaks_for.get()
        if handled is not None:
            correlation_id, causation_id = inherit(handled, correlation_id, causation_id)
        metadata = EventMetadata(
            event_id=event_id or new_event_id(),
            schema_version=schema_version or DEFAULT_VERSION,
            timestamp=self._clock.now() if event_time_ns is None else datetime_of_ns(event_time_ns),
            source=source,
            correlation_id=correlation_id,
            causation_id=causation_id,
            aggregate_id=aggregate_id,
            tags=dict(tags or {}),
        )
        return Event(event_type, data, metadata)

    async def save_and_deliver(self, log: Log, event: Event, *, is_valid: bool | None) -> str:
        """Save, then append to ``log`` for delivery; the event's id. Raises StorageError, and what the store raises."""
        metadata: EventMetadata = event.metadata
        if not await self._store.save_event(event):
            raise StorageError("the event store did not take the event", event_id=metadata.event_id)
        live: Event | Receipt = log._publish(  # noqa: SLF001 - the engine's door for the bus
            event.event_type,
            event.data,
            metadata.source,
            metadata.correlation_id,
            metadata.causation_id,
            metadata.aggregate_id,
            metadata.tags,
            metadata.event_id,
            None,
            metadata.schema_version,
            Expected.ANY,
            is_valid,
        )
        if isinstance(live, Receipt):  # the store and the log had it already: it was delivered
            return metadata.event_id
        live.metadata = metadata
        self._delivery.frontier.hold(live)
        self._counters.events_published += 1
        return metadata.event_id
