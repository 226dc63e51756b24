"""aresbus: an event bus whose queue is a durable log. Two doors to one engine.

Owns the public names and refuses foreign platforms. `aresbus.open` is the synchronous door, `EnhancedEventBus` the one
for asyncio. Invariant: a name is imported when it is first asked for, so that `aresbus --help` does not wait for asyncio.
"""

import platform as _platform
import sys as _sys
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if not _sys.platform.startswith("linux") or _platform.machine() not in {"x86_64", "aarch64"}:
    raise ImportError(
        "aresbus runs on Linux x86-64 and Linux aarch64; "
        f"this is {_sys.platform} {_platform.machine()}, which is not supported yet"
    )

if TYPE_CHECKING:
    from aresbus import reports
    from aresbus._core import (
        FORMAT_VERSION,
        Event,
        EventIterator,
        Expected,
        ManualClock,
        Receipt,
        __version__,
        verify,
    )
    from aresbus.bus import EnhancedEventBus, setup_enhanced_event_bus
    from aresbus.clock import Clock
    from aresbus.config import NOT_YET, BusConfig, get_event_bus_config
    from aresbus.errors import (
        ERRORS_BY_CODE,
        AresbusError,
        BusStateError,
        ConfigError,
        CorruptionError,
        DiskFullError,
        DuplicateEventError,
        EffectBlockedError,
        EncodeError,
        FormatVersionError,
        HandlerError,
        LimitError,
        LogClosedError,
        LogLockedError,
        LogPoisonedError,
        SchemaError,
        StorageError,
        TruncatedError,
        UnknownEventTypeError,
        UpcastError,
        VersionConflictError,
    )
    from aresbus.events import EventMetadata, EventSnapshot, EventStatus, EventType, register_event_type
    from aresbus.log import Log, open  # noqa: A004 - aresbus.open is the name of the contract
    from aresbus.replay import Replay, ReplayReport, StrategyBus, digest_of, gate, sink
    from aresbus.schema import EventVersionManager
    from aresbus.store import FileEventStore, IEventStore, MemoryEventStore
    from aresbus.subscriptions import ParkedDelivery, Subscription

__all__ = [
    "ERRORS_BY_CODE",
    "FORMAT_VERSION",
    "NOT_YET",
    "AresbusError",
    "BusConfig",
    "BusStateError",
    "Clock",
    "ConfigError",
    "CorruptionError",
    "DiskFullError",
    "DuplicateEventError",
    "EffectBlockedError",
    "EncodeError",
    "EnhancedEventBus",
    "Event",
    "EventIterator",
    "EventMetadata",
    "EventSnapshot",
    "EventStatus",
    "EventType",
    "EventVersionManager",
    "Expected",
    "FileEventStore",
    "FormatVersionError",
    "HandlerError",
    "IEventStore",
    "LimitError",
    "Log",
    "LogClosedError",
    "LogLockedError",
    "LogPoisonedError",
    "ManualClock",
    "MemoryEventStore",
    "ParkedDelivery",
    "Receipt",
    "Replay",
    "ReplayReport",
    "SchemaError",
    "StorageError",
    "StrategyBus",
    "Subscription",
    "TruncatedError",
    "UnknownEventTypeError",
    "UpcastError",
    "VersionConflictError",
    "__version__",
    "digest_of",
    "gate",
    "get_event_bus_config",
    "open",
    "register_event_type",
    "reports",
    "setup_enhanced_event_bus",
    "sink",
    "verify",
]

_HOMES = {
    "_core": (
        "FORMAT_VERSION",
        "EventIterator",
        "Expected",
        "ManualClock",
        "Receipt",
        "__version__",
        "verify",
    ),
    "bus": ("EnhancedEventBus", "setup_enhanced_event_bus"),
    "clock": ("Clock",),
    "config": ("NOT_YET", "BusConfig", "get_event_bus_config"),
    "errors": (
        "ERRORS_BY_CODE",
        "AresbusError",
        "BusStateError",
        "ConfigError",
        "CorruptionError",
        "DiskFullError",
        "DuplicateEventError",
        "EffectBlockedError",
        "EncodeError",
        "FormatVersionError",
        "HandlerError",
        "LimitError",
        "LogClosedError",
        "LogLockedError",
        "LogPoisonedError",
        "SchemaError",
        "StorageError",
        "TruncatedError",
        "UnknownEventTypeError",
        "UpcastError",
        "VersionConflictError",
    ),
    "events": ("Event", "EventMetadata", "EventSnapshot", "EventStatus", "EventType", "register_event_type"),
    "log": ("Log", "open"),
    "replay": ("Replay", "ReplayReport", "StrategyBus", "digest_of", "gate", "sink"),
    "schema": ("EventVersionManager",),
    "store": ("FileEventStore", "IEventStore", "MemoryEventStore"),
    "subscriptions": ("ParkedDelivery", "Subscription"),
}
"""Module to the public names it gives. Event comes from there because that module makes it behave as a dataclass."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:  # a type checker would take it as leave to use any name

    def __getattr__(name: str) -> object:
        """Import a public name at its first use (PEP 562); from then on it is an ordinary attribute."""
        if name == "reports":
            return _import_module("aresbus.reports")
        if name not in _HOME_OF:
            raise AttributeError(f"module 'aresbus' has no attribute {name!r}")
        value = getattr(_import_module(f"aresbus.{_HOME_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
