"""Aggregates: entities whose state is what their own events made of it, and who decide what happens next.

Owns the base class, which method folds which event type, and the events that were decided and are not stored yet.
Knows no log: loading and saving are the repository's. Invariants: the state changes through `@applies` methods alone,
for a new event as for a stored one; what such a method sees of a new event is what it will see of it ever after.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from aresbus._core import Event
from aresbus._typing import override
from aresbus.errors import EncodeError
from aresbus.events import (
    DEFAULT_VERSION,
    EventMetadata,
    datetime_of_ns,
    event_type_of,
    new_event_id,
    ns_of_datetime,
    plain_json,
    utc_now,
)
from aresbus.reducers import Present, as_stored

__all__ = ["Aggregate", "PendingEvent", "applies"]

Method = TypeVar("Method", bound=Callable[..., None])

APPLIES = "_aresbus_applies"
"""Attribute of a function that `applies` has marked: the event types it folds."""


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """What an aggregate decided and nobody has stored yet. ``data`` is a copy of what was given."""

    event_type: str
    data: Any
    event_id: str
    event_time_ns: int
    """When it was decided, ns since 1970 UTC."""
    tags: dict[str, str]
    schema_version: str | None
    """None: the current one of the type."""

    def keywords(self) -> dict[str, Any]:
        """As :meth:`aresbus.Log.append_many` takes it, but for the aggregate."""
        return {
            "event_type": self.event_type,
            "data": self.data,
            "event_id": self.event_id,
            "event_time_ns": self.event_time_ns,
            "tags": self.tags,
            "schema_version": self.schema_version,
        }


def applies(*event_types: str) -> Callable[[Method], Method]:
    """Mark a method of an :class:`Aggregate` as the one that folds events of these types: ``method(self, event)``.

    It sets the state and decides nothing: it runs again at each load, so it must be pure and must not refuse.
    Raises TypeError without types, and for an async method.
    """
    if not event_types or not all(isinstance(one, str) for one in event_types):
        raise TypeError("applies() takes one event type or more: @applies('order_filled')")

    def mark(method: Method) -> Method:
        if inspect.iscoroutinefunction(method):
            raise TypeError(f"{method.__qualname__} is async; a fold has nothing to wait for")
        setattr(method, APPLIES, tuple(map(str, event_types)))
        return method

    return mark


class Aggregate:
    """Base of your entities. A command is a method that checks the state and calls :meth:`emit`.

    A subclass sets its first state in ``__init__(self, aggregate_id)``, after that of the base class, and has one
    method with :func:`applies` per event type. Not thread-safe: one instance belongs to one command at a time.
    """

    reducer_version: ClassVar[int] = 1
    """To be raised whenever the ``@applies`` methods change what they make of an event: older snapshots go."""
    _appliers: ClassVar[Mapping[str, str]] = {}
    """Event type to the name of the method, so that a subclass may override the method."""

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the methods. Raises TypeError where two of one class fold the same type."""
        super().__init_subclass__(**kwargs)
        own: dict[str, str] = {}
        for name, method in vars(cls).items():
            for text in getattr(method, APPLIES, ()):
                if text in own:
                    raise TypeError(f"{cls.__name__}: both {own[text]} and {name} apply {text}")
                own[text] = name
        inherited: dict[str, str] = {}
        for base in reversed(cls.__mro__[1:]):
            inherited |= getattr(base, "_appliers", {})
        cls._appliers = inherited | own

    def __init__(self, aggregate_id: str) -> None:
        """Without any event yet. Raises TypeError for an id that is no text, ValueError for an empty one."""
        if not isinstance(aggregate_id, str):
            raise TypeError(f"an aggregate's id is text, not {type(aggregate_id).__name__}")
        if not aggregate_id:
            raise ValueError("an aggregate's id has at least one character")
        self._id = aggregate_id
        self._version: int | None = None
        self._pending: list[PendingEvent] = []
        self._unsaved_since_ns: int | None = None
        """When its first event that is in no snapshot was appended, as far as it was loaded or asked."""

    @property
    def id(self) -> str:
        """The aggregate id, as in the log."""
        return self._id

    @property
    def version(self) -> int | None:
        """Version of its newest stored event; None: nothing is stored of it. Pending events do not count."""
        return self._version

    @property
    def pending(self) -> tuple[PendingEvent, ...]:
        """What :meth:`emit` was called with since the aggregate was loaded or saved."""
        return tuple(self._pending)

    def emit(
        self,
        event_type: str,
        data: Any,
        *,
        event_time_ns: int | None = None,
        tags: Mapping[str, str] | None = None,
        schema_version: str | None = None,
    ) -> None:
        """Decide that the event happens: fold it into the state now, store it when the aggregate is saved.

        ``event_time_ns`` None: the wall clock, now. Raises EncodeError for data without a JSON form, and TypeError
        where no method applies the type.
        """
        text = str(event_type)
        if text not in self._appliers:
            known = ", ".join(sorted(self._appliers)) or "none"
            raise TypeError(f"{type(self).__name__} has no @applies method for {text!r}; it has: {known}")
        if isinstance(data, bytes | bytearray | memoryview):
            raise EncodeError("the data of an aggregate's event is JSON, not bytes")
        time_ns = ns_of_datetime(utc_now()) if event_time_ns is None else event_time_ns
        pending = PendingEvent(
            text, copy.deepcopy(data), new_event_id(), time_ns, dict(tags or {}), schema_version
        )
        getattr(self, self._appliers[text])(self._as_stored_later(pending))
        self._pending.append(pending)

    def state(self) -> dict[str, Any]:
        """The state as JSON, for snapshots: by default every attribute whose name begins with no underscore.

        Override it together with :meth:`restore` where attributes are no plain JSON (a Decimal, a set, an Enum).
        """
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`, on a new instance."""
        vars(self).update(state)

    def _as_stored_later(self, pending: PendingEvent) -> Event:
        """The event as a load will show it: plain JSON, nothing shared with what is going to be stored."""
        metadata = EventMetadata(
            event_id=pending.event_id,
            schema_version=pending.schema_version or DEFAULT_VERSION,
            timestamp=datetime_of_ns(pending.event_time_ns),
            aggregate_id=self._id,
            tags=dict(pending.tags),
        )
        known = event_type_of(pending.event_type)
        return Event(known or pending.event_type, plain_json(pending.data), metadata)

    def _replay(self, events: Iterable[Event], present: Present = as_stored) -> Event | None:
        """Fold stored events, those of unknown types too, which change nothing; the last one."""
        methods = {text: getattr(self, name) for text, name in self._appliers.items()}
        last = None
        try:
            for last in events:
                if self._unsaved_since_ns is None:
                    self._unsaved_since_ns = last.ts_ns
                for event in present(last):
                    method = methods.get(event.event_type)
                    if method is not None:
                        method(event)
        except Exception as error:
            if last is not None:
                error.add_note(f"while folding {last.event_type} at seq {last.seq} into {self._id}")
            raise
        if last is not None:
            self._version = last.aggregate_version
        return last

    def _restored(self, state: dict[str, Any], version: int | None) -> None:
        self.restore(state)
        self._version = version

    def _saved(self, version: int | None) -> None:
        self._version = version
        self._pending.clear()
