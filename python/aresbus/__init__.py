"""aresbus: an event bus whose queue is a durable log. Two doors to one engine.

Owns the public names and refuses foreign platforms; holds no code of its own. `aresbus.open` is the synchronous
door, `EnhancedEventBus` the one for asyncio.
"""

import platform as _platform
import sys as _sys

if not _sys.platform.startswith("linux") or _platform.machine() not in {"x86_64", "aarch64"}:
    raise ImportError(
        "aresbus runs on Linux x86-64 and Linux aarch64; "
        f"this is {_sys.platform} {_platform.machine()}, which is not supported yet"
    )

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
    "SchemaError",
    "StorageError",
    "Subscription",
    "TruncatedError",
    "UnknownEventTypeError",
    "UpcastError",
    "VersionConflictError",
    "__version__",
    "get_event_bus_config",
    "open",
    "register_event_type",
    "reports",
    "setup_enhanced_event_bus",
    "verify",
]
