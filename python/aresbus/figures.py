"""The figures of a bus for monitoring systems: which there are, what each means, and how it is read.

Owns names, kinds, units and meanings, once for every system; `prometheus` and `otel` only translate. Counts nothing:
a reading is taken from what the bus counts anyway. Invariants: reading changes nothing and opens nothing; no two
samples of a figure have the same labels; every label is text that UTF-8 can write.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aresbus.bus import EnhancedEventBus
from aresbus.errors import LogClosedError
from aresbus.metrics import Counters
from aresbus.reports import LogStats

__all__ = ["FIGURES", "Figure", "Reading", "Sample", "take_reading"]

Sample: TypeAlias = tuple[dict[str, str], float]
"""Labels and value."""

HEALTH_VALUES = {"healthy": 0, "degraded": 1, "unhealthy": 2}
MEANINGS = {
    "events_processed": "Events that went through delivery to every subscription",
    "events_failed": "Events that every subscription failed on",
    "events_rejected": "Publications refused for their input",
    "snapshots_created": "Snapshots made",
    "replays_performed": "Calls of replay_events",
    "events_published": "Events appended by publish",
    "events_delivered": "Deliveries that a handler took",
    "deliveries_failed": "Tries of a handler that failed",
    "deliveries_retried": "Tries of a handler after a failed one",
    "deliveries_parked": "Deliveries set aside after the last try",
    "deliveries_cancelled": "Deliveries cancelled while under way",
    "schema_breaches": "Events stored although they do not fit their schema",
    "snapshots_ignored": "Snapshots that could not be used",
    "snapshots_damaged": "Snapshots that could not be used for damage, or because their event was lost",
    "events_lost": "Events that were no longer kept when a subscription got to them",
    "loop_holds": "Times that a handler held the event loop for longer than a second",
    "housekeeping_passes": "Passes of housekeeping",
    "health_checks": "Timed health checks",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a bus says of itself at one moment. ``log`` is None where it is not open, or another process writes it."""

    metrics: dict[str, Any]
    status: dict[str, Any]
    log: LogStats | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its name and unit, whether it only rises ("counter"), what it means, and how to read it."""

    name: str
    kind: Literal["counter", "gauge"]
    unit: Literal["", "bytes", "seconds"]
    meaning: str
    samples: Callable[[Reading], Iterable[Sample]]


def take_reading(bus: EnhancedEventBus) -> Reading:
    """Read a bus. Any thread; opens nothing, waits for nothing; tens of microseconds and a few per subscription."""
    status = bus.get_status()
    stats = None
    if status["log"] is not None and status["mode"] == "rw":
        try:
            stats = bus.log.stats()
        except LogClosedError:  # stopped between the two lines
            status = {**status, "log": None}
    return Reading(status["metrics"], status, stats)


def _counted(name: str) -> Figure:
    def samples(reading: Reading) -> list[Sample]:
        return [({}, reading.metrics[name])] if name in reading.metrics else []

    return Figure(name, "counter", "", MEANINGS.get(name, name.replace("_", " ").capitalize()), samples)


def _of_status(name: str, meaning: str, value: Callable[[dict[str, Any]], float]) -> Figure:
    return Figure(name, "gauge", "", meaning, lambda reading: [({}, value(reading.status))])


def _of_log(
    name: str,
    kind: Literal["counter", "gauge"],
    unit: Literal["", "bytes", "seconds"],
    meaning: str,
    value: Callable[[LogStats], float],
) -> Figure:
    return Figure(
        name, kind, unit, meaning, lambda reading: [] if reading.log is None else [({}, value(reading.log))]
    )


def _of_subscriptions(name: str, kind: Literal["counter", "gauge"], meaning: str, key: str) -> Figure:
    def samples(reading: Reading) -> list[Sample]:
        return [(labels, one[key]) for labels, one in _labelled(reading.status["subscriptions"])]

    return Figure(name, kind, "", meaning, samples)


def _halted(reading: Reading) -> list[Sample]:
    return [
        (labels, int(one["halted"] is not None)) for labels, one in _labelled(reading.status["subscriptions"])
    ]


def _labelled(subscriptions: Iterable[dict[str, Any]]) -> Iterable[tuple[dict[str, str], dict[str, Any]]]:
    """Each with its labels; of several with one type and name, as of lambdas, the second gets ``#2``."""
    seen: Counter[tuple[str, str]] = Counter()
    for one in subscriptions:
        event_type, name = _writable(one["event_type"]), _writable(one["callback"])
        seen[event_type, name] += 1
        number = seen[event_type, name]
        yield {"event_type": event_type, "subscription": name if number == 1 else f"{name}#{number}"}, one


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _positions(reading: Reading) -> list[Sample]:
    log = reading.status["log"]
    if log is None:
        return []
    known = {"last": log["last_seq"], "durable": log["durable_seq"]}
    return [({"position": name}, seq) for name, seq in known.items() if seq is not None]


def _durable_lag(reading: Reading) -> list[Sample]:
    log = reading.status["log"]
    if log is None:
        return []
    end, durable_end = (0 if seq is None else seq + 1 for seq in (log["last_seq"], log["durable_seq"]))
    return [({}, max(0, end - durable_end))]


def _health(reading: Reading) -> list[Sample]:
    health = reading.status["health"]
    each = {name: one["status"] for name, one in health.get("checks", {}).items()}
    return [({"check": name}, HEALTH_VALUES[one]) for name, one in {"all": health["status"], **each}.items()]


FIGURES: tuple[Figure, ...] = (
    *(_counted(name) for name in ("events_processed", *Counters.names())),
    _of_status("running", "Whether run() delivers", lambda status: status["is_running"]),
    _of_status(
        "waiting_events", "Events not yet delivered to everybody", lambda status: status["queue_size"]
    ),
    _of_status("subscriptions", "Active subscriptions", lambda status: status["subscribers_count"]),
    Figure("health", "gauge", "", "Health: 0 healthy, 1 degraded, 2 unhealthy", _health),
    Figure("log_position", "gauge", "", "Newest event and newest durable event, as seq", _positions),
    Figure(
        "undurable_events", "gauge", "", "Events appended that would not survive power loss yet", _durable_lag
    ),
    _of_subscriptions("subscription_lag_events", "gauge", "Events a subscription is behind the log", "lag"),
    _of_subscriptions("subscription_delivered", "counter", "Deliveries its handler took", "delivered"),
    _of_subscriptions("subscription_retried", "counter", "Tries after a failed one", "retried"),
    _of_subscriptions("subscription_parked", "counter", "Deliveries set aside", "parked"),
    Figure(
        "subscription_halted", "gauge", "", "1 while a subscription stands still until it is resumed", _halted
    ),
    _of_log("appended_events", "counter", "", "Events appended to the log", lambda log: log["appended"]),
    _of_log("appended_bytes", "counter", "bytes", "Bytes of records", lambda log: log["appended_bytes"]),
    _of_log("syncs", "counter", "", "Syncs to disk", lambda log: log["sync_count"]),
    _of_log("sync_seconds", "counter", "seconds", "Time in syncs", lambda log: log["sync_ns_total"] / 1e9),
    _of_log("longest_sync_seconds", "gauge", "seconds", "Longest sync", lambda log: log["sync_ns_max"] / 1e9),
    _of_log("segments", "gauge", "", "Segment files", lambda log: len(log["segments"])),
    _of_log(
        "segment_file_bytes",
        "gauge",
        "bytes",
        "Size of the segment files, with the room that the newest hold ahead",
        lambda log: sum(one["file_bytes"] for one in log["segments"]),
    ),
    _of_log(
        "segment_used_bytes",
        "gauge",
        "bytes",
        "Headers and records of the segments, as they were appended",
        lambda log: sum(one["used_bytes"] for one in log["segments"]),
    ),
    _of_log("segment_rolls", "counter", "", "Segments entered", lambda log: log["roll_count"]),
    _of_log(
        "appender_prepared_segments",
        "counter",
        "",
        "Segments that an appending thread had to prepare itself",
        lambda log: log["appender_prepared"],
    ),
    _of_log("segments_sealed", "counter", "", "Segments sealed", lambda log: log["sealed_count"]),
    _of_log(
        "waits_for_sealer",
        "counter",
        "",
        "Times that an append waited for a full segment to be sealed",
        lambda log: log["waits_for_sealer"],
    ),
    _of_log("aggregates", "gauge", "", "Aggregates in the log", lambda log: log["aggregate_count"]),
    _of_log(
        "lossy_events",
        "counter",
        "",
        "Events stored with NaN or infinity as null",
        lambda log: log["lossy_count"],
    ),
)
"""Every figure but the latency, which is a histogram where a system has histograms: metrics["latency_ns"]."""
