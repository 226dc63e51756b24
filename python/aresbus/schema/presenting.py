"""An event as its reader wants it: in the current version of its type, whatever version it was stored in.

Owns the choice between leaving an event as it is, bringing it forward, and the reader's policy for what nobody here
knows. Knows no log and no subscription. Invariants: an event that is current is returned itself, at the price of a
comparison; the stored event is never changed; under no policy is an event lost in silence.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias, get_args

from aresbus._core import Event
from aresbus.errors import SchemaError, UnknownEventTypeError
from aresbus.events import DEFAULT_VERSION, event_type_of
from aresbus.schema.registry import Registry
from aresbus.schema.upcasting import Way, upcast_error

__all__ = ["Policy", "Presenter", "checked_policy", "parts_of"]

Policy: TypeAlias = Literal["raw", "skip", "park", "halt"]
"""What a reader wants with an event of a type or version that nobody registered here:

* ``raw``: as it is stored;
* ``skip``: not at all; counted, and said once per type and version;
* ``park``: set aside, together with the error;
* ``halt``: the error.
"""
Aside: TypeAlias = Callable[[Event, SchemaError], object]
"""Takes an event that is set aside, and why."""

POLICIES: tuple[Policy, ...] = get_args(Policy)

logger: logging.Logger = logging.getLogger(__name__)


class Presenter:
    """Presents events to one reader. What is registered later counts too. One thread at a time."""

    def __init__(self, registry: Registry, policy: Policy = "raw") -> None:
        """Raises ValueError for an unknown policy."""
        self.policy: Policy = checked_policy(policy)
        self.upcast_count: int = 0
        """Events that were brought to another form."""
        self.skipped_count: int = 0
        """Events that policy "skip" kept from the reader, failed steps included."""
        self._registry = registry
        self._settled = registry.settled
        # Only a reader that wants unknown types as they are may take any type at 1.0.0 without a look.
        self._default = DEFAULT_VERSION if policy == "raw" else None
        self._told: set[tuple[str, str]] = set()

    def is_current(self, event: Event) -> bool:
        """Whether the event is to be presented as it stands, at a glance; False where it takes more than that to know."""
        return event.schema_version == self._settled.get(event.event_type, self._default)

    def present(self, event: Event) -> Event | tuple[Event, ...]:
        """The event in its current form: itself, another one, or the parts of a split in order; () is a skipped one.

        A failing step raises UpcastError, with the position and the cause. Of a version that is unknown here "park"
        and "halt" raise UpcastError too, of a type UnknownEventTypeError; what becomes of the event is the caller's.
        """
        if self.is_current(event):
            return event
        try:
            return self._presented(event)
        except SchemaError as error:
            if self.policy != "skip":
                raise
            self._skip(event, error)
            return ()

    def each(self, events: Iterable[Event], aside: Aside | None = None) -> Iterator[Event]:
        """All events in their current form, one after the other; lazy. ``aside`` gets what is parked.

        Raises SchemaError where ``present`` does, unless the policy is "park" and there is an ``aside``.
        """
        takes = aside if self.policy == "park" else None
        for event in events:
            try:
                found = self.present(event)
            except SchemaError as error:
                if takes is None:
                    raise
                takes(event, error)
                continue
            if isinstance(found, tuple):
                yield from found
            else:
                yield found

    def _presented(self, event: Event) -> Event | tuple[Event, ...]:
        text, version = event.event_type, event.schema_version
        if self.policy != "raw" and not self._registry.is_known_type(text):
            reason = "nobody registered it"
            raise UnknownEventTypeError(f"no event type {text!r}", event_type=str(text), problems=[reason])
        way = self._registry.way(text, version)
        if way is None:
            if self.policy == "raw":
                return event
            raise self._unknown_version(event)
        if not way.steps:
            if way.version == version:
                return event
            return _presented(event, event.data, way.version)
        parts = way.walk(event)
        self.upcast_count += 1
        kind = (event_type_of(way.event_type) or way.event_type) if way.is_rename else None
        if len(parts) == 1:
            return _presented(event, parts[0], way.version, None, kind)
        return tuple(_presented(event, data, way.version, part, kind) for part, data in enumerate(parts))

    def _unknown_version(self, event: Event) -> SchemaError:
        text = str(event.event_type)
        known = ", ".join(self._registry.versions(text))
        to = Way((), text, self._registry.current_version(text))
        return upcast_error(event, to, f"known here are {known}; {event.schema_version} is not")

    def _skip(self, event: Event, error: SchemaError) -> None:
        self.skipped_count += 1
        node = (str(event.event_type), event.schema_version)
        if node not in self._told:
            self._told.add(node)
            logger.warning("skipped, and said once per type and version: %s", error)


def checked_policy(policy: str) -> Policy:
    """The policy itself. Raises ValueError for any other text."""
    for known in POLICIES:
        if known == policy:
            return known
    raise ValueError(f"policy: got {policy!r}, takes {', '.join(POLICIES)}")


def parts_of(presenter: Presenter, event: Event) -> tuple[Event, ...]:
    """The event as the presenter shows it, always as a tuple."""
    shown = presenter.present(event)
    return shown if isinstance(shown, tuple) else (shown,)


def _presented(
    event: Event, data: Any, version: str, part: int | None = None, event_type: Any = None
) -> Event:
    """The event with other data and another version; all that is stored of it is shared."""
    if event.seq is not None:
        return event._presented(data, version, part, event_type)  # noqa: SLF001 - made for this
    metadata = dataclasses.replace(event.metadata, schema_version=version, tags=dict(event.metadata.tags))
    return type(event)(event_type or event.event_type, data, metadata)
