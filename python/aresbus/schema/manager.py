"""The face that Ares code knows: is this data right, and give me this event in that version.

Owns the built-in schemas and steps, and what can be asked about an event. What is registered is the registry's, how a
reader sees an event the presenter's. Invariants: an event is never changed in place, a migrated one is new; what nobody
declared is not checked.
"""

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aresbus.errors import UpcastError
from aresbus.events import DEFAULT_VERSION, Event, EventMetadata, EventType, event_type_of
from aresbus.schema.declared import FieldRules, RegisteredRules
from aresbus.schema.presenting import Aside, Policy, Presenter
from aresbus.schema.registry import Registry
from aresbus.schema.upcasting import Data, Way, upcast_error
from aresbus.schema.versions import version_order

__all__ = ["EventVersionManager"]


def _market_data_1_1_0(data: Data, metadata: EventMetadata) -> Data:
    return {**data, "timestamp": data.get("timestamp", metadata.timestamp.isoformat())}


def _trade_executed_1_1_0(data: Data) -> Data:
    return {**data, "order_id": data.get("order_id")}


class EventVersionManager(Registry):
    """Declared schemas per type and version, and the way from one version to the next.

    ``version_mappings`` is ``{version: {event_type_value: {"required_fields": [...], "optional_fields": [...]}}}`` and
    may be extended by the user; :meth:`register` takes any schema and checks it against the versions before. Not to be
    changed while other threads publish or read.
    """

    def __init__(self) -> None:
        """Start with the built-in versions 1.0.0 and 1.1.0."""
        super().__init__()
        market_data, trade = EventType.MARKET_DATA_RECEIVED.value, EventType.TRADE_EXECUTED.value
        built_in: dict[str, dict[str, FieldRules]] = {
            "1.0.0": {
                market_data: _rules("symbol price volume"),
                trade: _rules("symbol side quantity price"),
            },
            "1.1.0": {
                market_data: _rules("symbol price volume timestamp", "bid ask spread"),
                trade: _rules("symbol side quantity price order_id", "commission fees"),
            },
        }
        self.version_mappings.update(built_in)
        self.upcaster(market_data, "1.0.0", "1.1.0")(_market_data_1_1_0)
        self.upcaster(trade, "1.0.0", "1.1.0")(_trade_executed_1_1_0)

    def validate_event_schema(self, event: Event) -> bool:
        """Whether the data fits what is declared of its type in its schema version.

        True where nothing was declared. Raises nothing; ``problems`` says what is wrong.
        """
        return not self.problems(event.event_type, event.data, event.metadata.schema_version)

    def problems(self, event_type: str, data: Any, schema_version: str | None = None) -> list[str] | None:
        """What is wrong with the data, one sentence each; None where nothing was declared.

        ``schema_version=None`` is the type's current version.
        """
        version = schema_version or self.current_versions.get(event_type, DEFAULT_VERSION)
        declared = self.version_mappings.get(version)
        rules = None if declared is None else declared.get(event_type)
        if rules is None:
            return None
        if type(rules) is RegisteredRules:
            return rules.check(data)
        if type(data) is not dict and not isinstance(data, Mapping):
            return [f"the data is a dict, got {type(data).__name__}"]
        missing: list[str] = []
        for name in rules.get("required_fields", ()):
            if name not in data:
                missing.append(f"{name} is missing")  # noqa: PERF401 - nothing to build in the normal case
        return missing

    def migrate_event(self, event: Event, target_version: str) -> Event:
        """A new event whose data fits ``target_version``; the given one stays as it is.

        Types that did not change between two versions only get the new version; a step that renames gives the new
        type. Raises UpcastError for a version that nothing is declared in, an older one without a registered step
        back, data that is no dict, a step that fails, and one that splits: ``read_as_current`` gives the parts.
        """
        metadata: EventMetadata = event.metadata
        way = self._way_of(event, metadata.schema_version, target_version)
        parts = way.walk(event) if way.steps else [copy.deepcopy(event.data)]
        if len(parts) != 1:
            raise upcast_error(
                event, way, f"it becomes {len(parts)} events; read_as_current() gives them all"
            )
        migrated = dataclasses.replace(metadata, schema_version=target_version, tags=dict(metadata.tags))
        kind = (event_type_of(way.event_type) or way.event_type) if way.is_rename else event.event_type
        return type(event)(kind, parts[0], migrated)

    def presenter(self, policy: Policy = "raw") -> Presenter:
        """What shows a reader each event in its current version; ``policy`` is for what is unknown here."""
        return Presenter(self, policy)

    def read_as_current(
        self, events: Iterable[Event], policy: Policy = "raw", *, aside: Aside | None = None
    ) -> Iterator[Event]:
        """The events in the current version of their types: wrap any ``log.read(...)``. Lazy.

        ``policy`` is for types and versions that nobody registered here: "raw" gives them as they are stored, "skip"
        leaves them out, "halt" raises, "park" calls ``aside(event, error)``, which it needs. A step that fails raises
        UpcastError under "raw" and "halt". Raises ValueError for another policy, or "park" without ``aside``.
        """
        presenter = Presenter(self, policy)
        if (policy == "park") != (aside is not None):
            raise ValueError(
                "policy 'park' needs aside=, which gets the events set aside; no other policy takes it"
            )
        return presenter.each(events, aside)

    def _way_of(self, event: Event, version: str, target: str) -> Way:
        text = str(event.event_type)
        to = Way((), text, target)
        for one in (version, target):
            if one not in self.version_mappings:
                raise upcast_error(event, to, f"{one} is not declared")
        if version_order(target) < version_order(version):
            back = self._downcasts.get((text, version, target))
            if back is None:
                raise upcast_error(event, to, "there is no way back to an older version")
            return Way((back,), text, target)
        try:
            return self.way_to(text, version, lambda _: target)
        except UpcastError as error:
            raise upcast_error(event, to, "; ".join(error.problems)) from None


def _rules(required: str, optional: str = "") -> FieldRules:
    return {"required_fields": required.split(), "optional_fields": optional.split()}
