"""Which fields an event type needs in which schema version, and how data of an older version becomes newer.

Owns the declared fields and the steps between versions. Knows neither log nor bus. Invariants: versions are
ordered as semantic versions; an event is never changed in place, a migrated one is new; what nobody declared is
not checked.
"""

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from aresbus.errors import UpcastError
from aresbus.events import DEFAULT_VERSION, Event, EventMetadata, EventType

__all__ = ["EventVersionManager"]

FieldRules: TypeAlias = dict[str, list[str]]
"""``{"required_fields": [...], "optional_fields": [...]}``."""
Upcaster: TypeAlias = Callable[[dict[str, Any], EventMetadata], dict[str, Any]]
"""From a copy of the data, and the metadata it came with, to the data of the next version."""


def _market_data_1_1_0(data: dict[str, Any], metadata: EventMetadata) -> dict[str, Any]:
    return {**data, "timestamp": data.get("timestamp", metadata.timestamp.isoformat())}


def _trade_executed_1_1_0(data: dict[str, Any], metadata: EventMetadata) -> dict[str, Any]:
    del metadata
    return {**data, "order_id": data.get("order_id")}


class EventVersionManager:
    """Declared schemas per version, and the way from one version to the next.

    ``version_mappings`` is ``{version: {event_type_value: {"required_fields": [...], "optional_fields":
    [...]}}}`` and may be extended by the user. Not to be changed while other threads publish.
    """

    version_mappings: dict[str, dict[str, FieldRules]]

    def __init__(self) -> None:
        """Start with the built-in versions 1.0.0 and 1.1.0."""
        market_data, trade = EventType.MARKET_DATA_RECEIVED.value, EventType.TRADE_EXECUTED.value
        self.version_mappings = {
            "1.0.0": {
                market_data: _rules("symbol price volume"),
                trade: _rules("symbol side quantity price"),
            },
            "1.1.0": {
                market_data: _rules("symbol price volume timestamp", "bid ask spread"),
                trade: _rules("symbol side quantity price order_id", "commission fees"),
            },
        }
        self._upcasters: dict[tuple[str, str], Upcaster] = {
            (market_data, "1.1.0"): _market_data_1_1_0,
            (trade, "1.1.0"): _trade_executed_1_1_0,
        }

    def validate_event_schema(self, event: Event) -> bool:
        """Whether the data has every field that its type requires in its schema version.

        True where nothing was declared. Raises nothing; ``problems`` says what is missing.
        """
        return not self.problems(event.event_type, event.data, event.metadata.schema_version)

    def problems(self, event_type: str, data: Any, schema_version: str | None = None) -> list[str] | None:
        """What is wrong with the data, one sentence each; None where nothing was declared."""
        declared = self.version_mappings.get(schema_version or DEFAULT_VERSION)
        rules = None if declared is None else declared.get(event_type)
        if rules is None:
            return None
        if not isinstance(data, Mapping):
            return [f"the data is a dict, got {type(data).__name__}"]
        return [f"{name} is missing" for name in rules.get("required_fields", ()) if name not in data]

    def migrate_event(self, event: Event, target_version: str) -> Event:
        """A new event whose data fits ``target_version``; the given one stays as it is.

        Types that did not change between two versions only get the new version. Raises UpcastError for a
        version that is not declared, an older one, or data that is no dict.
        """
        metadata: EventMetadata = event.metadata
        current = metadata.schema_version
        text, data = str(event.event_type), copy.deepcopy(event.data)
        for step in self._steps(text, current, target_version):
            upcaster = self._upcasters.get((text, step))
            if upcaster is None:
                continue
            if not isinstance(data, dict):
                raise _upcast_error(text, current, target_version, "its data is no dict")
            data = upcaster(data, metadata)
        migrated = dataclasses.replace(metadata, schema_version=target_version, tags=dict(metadata.tags))
        return type(event)(event.event_type, data, migrated)

    def _steps(self, text: str, current: str, target: str) -> list[str]:
        """The versions above ``current`` up to ``target``, in order."""
        for version in (current, target):
            if version not in self.version_mappings:
                raise _upcast_error(text, current, target, f"{version} is not declared")
        low, high = version_order(current), version_order(target)
        if high < low:
            raise _upcast_error(text, current, target, "there is no way back to an older version")
        between = [one for one in self.version_mappings if low < version_order(one) <= high]
        return sorted(between, key=version_order)


def version_order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """A key that sorts versions as semantic versions: "1.10.0" after "1.9.0", "2.0.0-rc1" before "2.0.0"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)*)(?:[-+](.*))?", version)
    if match is None:
        return ((), False, version)
    numbers = tuple(int(part) for part in match.group(1).split("."))
    return (numbers, match.group(2) is None, match.group(2) or "")


def _rules(required: str, optional: str = "") -> FieldRules:
    return {"required_fields": required.split(), "optional_fields": optional.split()}


def _upcast_error(text: str, current: str, target: str, reason: str) -> UpcastError:
    return UpcastError(
        f"{text} cannot be brought from schema version {current} to {target}: {reason}",
        event_type=text,
        problems=[reason],
        from_version=current,
        to_version=target,
    )
