"""aresbus: an event bus whose queue is a durable log. Two doors to one engine.

Owns the public names and refuses foreign platforms. `aresbus.open` is the synchronous door, `EnhancedEventBus` the one
for asyncio. Invariant: a name is imported when it is first asked for, so that `aresbus --help` does not wait for asyncio.
"""

import os as _os
import sys as _sys
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

_machine = _os.uname().machine if hasattr(_os, "uname") else "unknown"
if not _sys.platform.startswith("linux") or _machine not in {"x86_64", "aarch64"}:
    raise ImportError(
        "aresbus runs on Linux x86-64 and Linux aarch64; "
        f"this is {_sys.platform} {_machine}, which is not supported yet"
    )

if TYPE_CHECKING:
    from aresbus import reports
    from aresbus._core import (
        FORMAT_VERSION,
        EventIterator,
        Expected,
        ManualClock,
        Receipt,
        __version__,
        verify,
    )
    from aresbus.acts import Act, read_acts
    from aresbus.aggregates import Aggregate, PendingEvent, applies
    from aresbus.anchoring import AnchorReport, AnchorTo
    from aresbus.async_repositories import AsyncRepository
    from aresbus.audit import actor
    from aresbus.audit_export import export_acts
    from aresbus.backups import BackupReport, RestoreReport, restore, verify_backup
    from aresbus.bus import EnhancedEventBus, setup_enhanced_event_bus
    from aresbus.clock import Clock
    from aresbus.config import NOT_YET, BusConfig, get_event_bus_config
    from aresbus.conflicts import retry_on_conflict, retry_on_conflict_async
    from aresbus.correlation import correlate
    from aresbus.endpoint import StatusEndpoint, serve_status
    from aresbus.errors import (
        ERRORS_BY_CODE,
        AresbusError,
        AuditError,
        BackupError,
        BusStateError,
        ConfigError,
        CorruptionError,
        DiskFullError,
        DuplicateEventError,
        EffectBlockedError,
        EncodeError,
        ExportError,
        FormatVersionError,
        HandlerError,
        IncompatibleSchemaError,
        LegacyLayoutError,
        LimitError,
        LogClosedError,
        LogLockedError,
        LogPoisonedError,
        ProjectionError,
        SchemaConflictError,
        SchemaError,
        StorageError,
        TruncatedError,
        UnknownEventTypeError,
        UpcastError,
        VersionConflictError,
    )
    from aresbus.events import (
        Event,
        EventMetadata,
        EventSnapshot,
        EventStatus,
        EventType,
        register_event_type,
    )
    from aresbus.evidence import InclusionProof, TreeHead, heads_in
    from aresbus.health import HealthCheck, HealthLimits, HealthReport
    from aresbus.holds import Hold
    from aresbus.latency import LatencyReport, latency_between
    from aresbus.log import Log, open  # noqa: A004 - aresbus.open is the name of the contract
    from aresbus.projections import (
        MemoryProjectionStore,
        Projection,
        ProjectionPosition,
        ProjectionStore,
        ProjectionTransaction,
        Updated,
    )
    from aresbus.rebuilding import Rebuilt, rebuild
    from aresbus.reducers import Reducers, category_of
    from aresbus.repairing import repair
    from aresbus.replay import Replay, ReplayReport, StrategyBus, digest_of, gate, sink
    from aresbus.repositories import Executed, Repository
    from aresbus.retention import Pin, RetentionPlan, RetentionPolicy, SegmentFate
    from aresbus.salvaging import SalvageReport, salvage
    from aresbus.schema import EventVersionManager, Schema
    from aresbus.snapshot_acts import (
        CheckedSnapshot,
        check_snapshots,
        drop_snapshots,
        list_snapshots,
        take_snapshot,
    )
    from aresbus.snapshot_policies import SnapshotPolicy
    from aresbus.sqlite_projections import SqliteProjectionStore
    from aresbus.store import FileEventStore, IEventStore, MemoryEventStore
    from aresbus.subscriptions import ParkedDelivery, Subscription
    from aresbus.tracing import Trace, trace

__all__ = [
    "ERRORS_BY_CODE",
    "FORMAT_VERSION",
    "NOT_YET",
    "Act",
    "Aggregate",
    "AnchorReport",
    "AnchorTo",
    "AresbusError",
    "AsyncRepository",
    "AuditError",
    "BackupError",
    "BackupReport",
    "BusConfig",
    "BusStateError",
    "CheckedSnapshot",
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
    "Executed",
    "Expected",
    "ExportError",
    "FileEventStore",
    "FormatVersionError",
    "HandlerError",
    "HealthCheck",
    "HealthLimits",
    "HealthReport",
    "Hold",
    "IEventStore",
    "InclusionProof",
    "IncompatibleSchemaError",
    "LatencyReport",
    "LegacyLayoutError",
    "LimitError",
    "Log",
    "LogClosedError",
    "LogLockedError",
    "LogPoisonedError",
    "ManualClock",
    "MemoryEventStore",
    "MemoryProjectionStore",
    "ParkedDelivery",
    "PendingEvent",
    "Pin",
    "Projection",
    "ProjectionError",
    "ProjectionPosition",
    "ProjectionStore",
    "ProjectionTransaction",
    "Rebuilt",
    "Receipt",
    "Reducers",
    "Replay",
    "ReplayReport",
    "Repository",
    "RestoreReport",
    "RetentionPlan",
    "RetentionPolicy",
    "SalvageReport",
    "Schema",
    "SchemaConflictError",
    "SchemaError",
    "SegmentFate",
    "SnapshotPolicy",
    "SqliteProjectionStore",
    "StatusEndpoint",
    "StorageError",
    "StrategyBus",
    "Subscription",
    "Trace",
    "TreeHead",
    "TruncatedError",
    "UnknownEventTypeError",
    "UpcastError",
    "Updated",
    "VersionConflictError",
    "__version__",
    "actor",
    "applies",
    "category_of",
    "check_snapshots",
    "correlate",
    "digest_of",
    "drop_snapshots",
    "export_acts",
    "gate",
    "get_event_bus_config",
    "heads_in",
    "latency_between",
    "list_snapshots",
    "open",
    "read_acts",
    "rebuild",
    "register_event_type",
    "repair",
    "reports",
    "restore",
    "retry_on_conflict",
    "retry_on_conflict_async",
    "salvage",
    "serve_status",
    "setup_enhanced_event_bus",
    "sink",
    "take_snapshot",
    "trace",
    "verify",
    "verify_backup",
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
    "acts": ("Act", "read_acts"),
    "aggregates": ("Aggregate", "PendingEvent", "applies"),
    "anchoring": ("AnchorReport", "AnchorTo"),
    "async_repositories": ("AsyncRepository",),
    "audit": ("actor",),
    "audit_export": ("export_acts",),
    "backups": ("BackupReport", "RestoreReport", "restore", "verify_backup"),
    "bus": ("EnhancedEventBus", "setup_enhanced_event_bus"),
    "clock": ("Clock",),
    "config": ("NOT_YET", "BusConfig", "get_event_bus_config"),
    "conflicts": ("retry_on_conflict", "retry_on_conflict_async"),
    "correlation": ("correlate",),
    "endpoint": ("StatusEndpoint", "serve_status"),
    "errors": (
        "ERRORS_BY_CODE",
        "AresbusError",
        "AuditError",
        "BackupError",
        "BusStateError",
        "ConfigError",
        "CorruptionError",
        "DiskFullError",
        "DuplicateEventError",
        "EffectBlockedError",
        "EncodeError",
        "ExportError",
        "FormatVersionError",
        "HandlerError",
        "IncompatibleSchemaError",
        "LegacyLayoutError",
        "LimitError",
        "LogClosedError",
        "LogLockedError",
        "LogPoisonedError",
        "ProjectionError",
        "SchemaConflictError",
        "SchemaError",
        "StorageError",
        "TruncatedError",
        "UnknownEventTypeError",
        "UpcastError",
        "VersionConflictError",
    ),
    "events": ("Event", "EventMetadata", "EventSnapshot", "EventStatus", "EventType", "register_event_type"),
    "evidence": ("InclusionProof", "TreeHead", "heads_in"),
    "health": ("HealthCheck", "HealthLimits", "HealthReport"),
    "holds": ("Hold",),
    "latency": ("LatencyReport", "latency_between"),
    "log": ("Log", "open"),
    "projections": (
        "MemoryProjectionStore",
        "Projection",
        "ProjectionPosition",
        "ProjectionStore",
        "ProjectionTransaction",
        "Updated",
    ),
    "rebuilding": ("Rebuilt", "rebuild"),
    "reducers": ("Reducers", "category_of"),
    "repairing": ("repair",),
    "replay": ("Replay", "ReplayReport", "StrategyBus", "digest_of", "gate", "sink"),
    "repositories": ("Executed", "Repository"),
    "retention": ("Pin", "RetentionPlan", "RetentionPolicy", "SegmentFate"),
    "salvaging": ("SalvageReport", "salvage"),
    "schema": ("EventVersionManager", "Schema"),
    "snapshot_acts": (
        "CheckedSnapshot",
        "check_snapshots",
        "drop_snapshots",
        "list_snapshots",
        "take_snapshot",
    ),
    "snapshot_policies": ("SnapshotPolicy",),
    "sqlite_projections": ("SqliteProjectionStore",),
    "store": ("FileEventStore", "IEventStore", "MemoryEventStore"),
    "subscriptions": ("ParkedDelivery", "Subscription"),
    "tracing": ("Trace", "trace"),
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
