"""What a bus is made of, and what can be read from it: status, metrics, history, settings.

Owns the parts and their wiring, and every question a user may ask. Changes nothing: opening, running, publishing
are bus.py's. Invariants: a reading never opens, blocks or waits, but for `log`, and the histories, which may read
from it; no part refers back to the bus, so that a dropped bus releases its lock at once.
"""

import asyncio
import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Literal

from aresbus._core import Event, ManualClock
from aresbus.clock import Clock
from aresbus.config import BusConfig, parse_config
from aresbus.correlation import handled_event
from aresbus.delivery import Delivery
from aresbus.errors import ConfigError, LogClosedError
from aresbus.events import EventSnapshot
from aresbus.expiry import Expiry
from aresbus.foreign import ForeignStore
from aresbus.health import HealthLimits, HealthReport
from aresbus.housekeeping import Housekeeping
from aresbus.log import Log
from aresbus.metrics import Counters, LatencyHistogram
from aresbus.publishing import Settler
from aresbus.retention import RetentionPolicy
from aresbus.runner import Runner
from aresbus.schema import EventVersionManager
from aresbus.schema.presenting import parts_of
from aresbus.snapshots import Snapshots
from aresbus.store import FileEventStore, IEventStore, LogEventStore, MemoryEventStore
from aresbus.subscriptions import Callback, Subscription
from aresbus.troubles import Troubles

__all__ = ["EventQueue", "ReadableBus"]

LOG_OPTIONS = frozenset(
    [
        "durability",
        "sync_interval_ms",
        "segment_bytes",
        "memory_bytes",
        "non_finite",
        "recover",
        "sealing",
        "force_filesystem",
        "reason",
        "anchor_to",
    ]
)


class EventQueue:
    """The events not yet delivered, in the shape of a queue. The queue is the log: nothing is kept here."""

    __slots__ = ("_delivery",)

    def __init__(self, delivery: Delivery) -> None:
        """A view of what ``delivery`` has before it."""
        self._delivery = delivery

    def qsize(self) -> int:
        """How many appended events did not yet go through delivery to every subscription."""
        return self._delivery.waiting_count

    def empty(self) -> bool:
        """Whether every appended event went through delivery to every subscription."""
        return self.qsize() == 0


class ReadableBus:
    """The parts of a bus and what they know. Users make an EnhancedEventBus."""

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        mode: Literal["rw", "r"] = "rw",
        event_store: IEventStore | None = None,
        clock: ManualClock | None = None,
        strict: bool = False,
        log_options: Mapping[str, Any] | None = None,
        health_limits: HealthLimits | None = None,
        retention: RetentionPolicy | None = None,
    ) -> None:
        self.config: BusConfig = parse_config(config)
        """The checked configuration."""
        self.clock: Clock = Clock(clock)
        """Where the bus takes its time from: ``bus.clock.now()``."""
        self.version_manager: EventVersionManager = EventVersionManager()
        """Declared schemas and the way between versions."""
        options = _log_options(log_options, event_store, mode, persists=self.config.enable_persistence)
        if clock is not None:
            options["clock"] = clock
        self.event_store: IEventStore = event_store or _default_store(self.config, mode, options)
        """Where events are stored."""
        self._mode, self._strict = mode, strict
        self._counters = Counters(latency=LatencyHistogram(clock))
        self._troubles = Troubles(logging.getLogger("aresbus.bus"))
        self._snapshots = Snapshots(
            self.event_store, self.config, self._counters, self._troubles, self.clock, is_reader=mode == "r"
        )
        self._snapshots.schemas = self.version_manager.current_versions
        self._snapshots.present = partial(parts_of, self.version_manager.presenter("raw"))
        self._delivery = Delivery(
            self.config,
            self._counters,
            self._troubles,
            self.clock,
            observe=self._snapshots.observe if self._snapshots.is_enabled else None,
            versions=self.version_manager,
        )
        self._expiry = Expiry(
            _policy(self.config, retention), self._snapshots, self._counters, self._troubles, self.clock
        )
        self._house = Housekeeping(
            self._delivery, self._snapshots, self._counters, health_limits, expiry=self._expiry
        )
        self._settler = Settler()
        self._speaks_for = handled_event if self.config.correlation_tracking else None
        """What ids are inherited from, if they are."""
        self._foreign: ForeignStore | None = None
        if isinstance(self.event_store, LogEventStore):
            self._log_store: LogEventStore = self.event_store
        else:
            self._log_store = MemoryEventStore(log_options=options)
            self._foreign = ForeignStore(
                self.event_store, self._delivery, self._counters, self.clock, self._speaks_for
            )
        self._log: Log | None = None
        self._waits = False
        """A publish waits for the disk, unless its own durability says otherwise."""
        self._opening = threading.Lock()
        self._is_stopped = self._is_starting = False
        self._stop_count = 0
        self._breaching: set[str] = set()
        self._runner: Runner | None = None
        self._background: asyncio.Task[None] | None = None

    # Settings and parts

    @property
    def is_running(self) -> bool:
        """Whether :meth:`run` delivers."""
        return self._runner is not None

    @property
    def mode(self) -> Literal["rw", "r"]:
        """Whether the bus writes its log or follows another's."""
        return self._mode

    @property
    def processing_interval(self) -> float:
        """Seconds between housekeeping passes."""
        return self.config.processing_interval

    @property
    def max_history(self) -> int:
        """How many of the newest events are kept as objects."""
        return self.config.max_history

    @property
    def enable_persistence(self) -> bool:
        """Whether events are kept on disk."""
        return self.config.enable_persistence

    @property
    def snapshots(self) -> dict[str, EventSnapshot]:
        """Newest snapshot made by this bus, per aggregate; the bus's own under "system"."""
        return self._snapshots.made

    @property
    def subscribers(self) -> dict[str, list[Callback]]:
        """The callbacks by event type."""
        return {
            text: [one.callback for one in several] for text, several in self._delivery.roster.by_type.items()
        }

    @property
    def subscriptions(self) -> list[Subscription]:
        """Every active subscription, with its cursor and its parked deliveries."""
        return self._delivery.roster.all()

    @property
    def event_queue(self) -> EventQueue:
        """The events not yet delivered: ``qsize()`` and ``empty()``."""
        return EventQueue(self._delivery)

    @property
    def event_history(self) -> list[Event]:
        """The newest events held as objects, oldest first; handlers got these very objects."""
        return self._delivery.frontier.recent()

    @property
    def last_error(self) -> BaseException | None:
        """A copy of the last error that was logged, without its frames; None if there was none."""
        return self._troubles.last

    @property
    def metrics(self) -> dict[str, Any]:
        """As :meth:`get_metrics`."""
        return self.get_metrics()

    # Questions

    def get_metrics(self) -> dict[str, Any]:
        """Counters since the bus was made. With ``metrics_enabled`` also the detailed ones and ``latency_ns``.

        ``latency_ns`` is the time from publish to handler of live deliveries: count, p50, p99, p99.9, max.
        """
        classic = {"events_processed": self._delivery.processed_count, **self._counters.classic()}
        return {**classic, **self._counters.detailed()} if self.config.metrics_enabled else classic

    def get_status(self) -> dict[str, Any]:
        """The state of the bus, ready for JSON."""
        delivery = self._delivery
        return {
            "is_running": self.is_running,
            "mode": self._mode,
            "metrics": self.get_metrics(),
            "queue_size": delivery.waiting_count,
            "subscribers_count": len(delivery.roster.all()),
            "subscriptions": [self._describe(one) for one in delivery.roster.all()],
            "persistence_enabled": self.config.enable_persistence,
            "snapshots_enabled": self.config.enable_snapshots,
            "snapshots": self._counters.pick(("snapshots_created", "snapshots_ignored", "snapshots_damaged")),
            "last_error": self._troubles.last_text,
            "health": self.check_health().to_dict(),
            "retention": self._describe_retention(),
            "log": self._describe_log(),
        }

    def get_history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The newest ``limit`` events, ``max_history`` unless given, as dicts ready for JSON, newest last."""
        return [
            {
                "timestamp": event.metadata.timestamp.isoformat(),
                "event_id": event.event_id,
                "event_type": str(event.event_type),
                "source": event.source,
                "status": str(event.metadata.status),
            }
            for event in self.get_event_history(limit)
        ]

    def get_event_history(self, limit: int | None = None) -> list[Event]:
        """The newest ``limit`` events, ``max_history`` unless given, newest last; older ones are read from the log."""
        log = self._log
        last = None if log is None or log.is_closed else log.last_seq
        limit = self.max_history if limit is None else limit
        if limit <= 0:
            return []
        if log is None or last is None:
            return self._delivery.frontier.recent()[-limit:]
        first = max(log.first_seq, last + 1 - limit)
        held = {event.seq: event for event in self._delivery.frontier.recent()}
        if all(seq in held for seq in range(first, last + 1)):
            return [held[seq] for seq in range(first, last + 1)]
        stored = log.read(after=first - 1 if first else None, up_to=last)
        return [held.get(event.seq, event) for event in stored]

    def _describe(self, subscription: Subscription) -> dict[str, Any]:
        terms = subscription.terms
        return {
            "event_type": str(subscription.event_type),
            "callback": subscription.name,
            "name": terms.name,
            "lag": self._delivery.frontier.lag(subscription),
            "delivered": subscription.delivered_count,
            "retried": subscription.retried_count,
            "parked": subscription.parked_count,
            "parked_now": len(subscription.parking),
            "skipped": subscription.skipped_count,
            "back_pressure": terms.back_pressure,
            "blocked": subscription.blocked_count,
            "dropped": subscription.waiting.dropped_count,
            "halted": subscription.halted_for,
        }

    def _describe_log(self) -> dict[str, Any] | None:
        log = self._log
        if log is None:
            return None
        try:
            return {"path": log.path, "last_seq": log.last_seq, "durable_seq": log.durable_seq}
        except LogClosedError:  # perhaps between two of these
            return None

    def _describe_retention(self) -> dict[str, Any]:
        plan = self._expiry.last_plan
        return {
            "problem": self._expiry.problem,
            "pins": [] if plan is None else [asdict(pin) for pin in plan.pins],
            "segments_dropped": self._counters.segments_dropped,
            "events_expired": self._counters.events_expired,
        }

    def check_health(self) -> HealthReport:
        """The verdict on the bus as it is now: every check with its reason. Any thread; waits for nothing.

        The disk is judged as of the last timed look. ``get_status()["health"]`` is the same as a dict.
        """
        runner = self._runner
        return self._house.check_health(
            is_running=None if self._is_stopped else runner is not None,
            held_for=None if runner is None else runner.held_for,
        )


def _log_options(
    given: Mapping[str, Any] | None, store: IEventStore | None, mode: str, *, persists: bool
) -> dict[str, Any]:
    """The engine's settings, checked by name; their values are checked at the opening."""
    options = dict(given or {})
    problems = [
        f"log_options: unknown setting {name}; the settings are {', '.join(sorted(LOG_OPTIONS))}"
        for name in sorted(options.keys() - LOG_OPTIONS)
    ]
    if mode not in ("rw", "r"):
        problems.append(f"mode: got {mode!r}, takes 'rw' or 'r'")
    if store is not None and options:
        problems.append("log_options: the event store given has its own log")
    if mode == "r" and store is None and not persists:
        problems.append("mode 'r': without persistence there is nothing to follow")
    if problems:
        raise ConfigError(f"the bus cannot be made: {'; '.join(problems)}", problems=problems)
    return options


def _policy(config: BusConfig, given: RetentionPolicy | None) -> RetentionPolicy:
    """The age of the configuration, unless the policy has one of its own."""
    policy = given or RetentionPolicy()
    return policy if policy.max_age_days is not None else replace(policy, max_age_days=config.event_ttl_days)


def _default_store(config: BusConfig, mode: Literal["rw", "r"], options: dict[str, Any]) -> LogEventStore:
    if not config.enable_persistence:
        return MemoryEventStore(log_options=options)
    options = {"sealing": "zstd" if config.compression_enabled else "none", **options}
    return FileEventStore(config.storage_path, mode=mode, audit=config.audit_trail, log_options=options)
