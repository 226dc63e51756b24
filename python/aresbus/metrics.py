"""What the bus counts, and how long events take from publish to handler.

Owns counters, and what a latency histogram is asked; its buckets are the engine's. Knows no bus. Invariants: recording
never allocates and never locks; the counters are written on the bus's loop, or by publishers under the GIL.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from aresbus._core import Histogram, Tally

__all__ = ["Counters", "LatencyHistogram"]

LEAST_OCTAVE = 8
"""Below it each bucket is one nanosecond, and all of them are one octave."""


class LatencyHistogram(Histogram):
    """Counts of nanoseconds in log-linear buckets; fixed memory, percentiles within 12.5 %. From any thread."""

    __slots__ = ()

    @property
    def count(self) -> int:
        """How many were recorded; summed up here, for whoever asks, and not at each delivery."""
        return sum(count for _, count in self.buckets())

    def percentile(self, fraction: float) -> int | None:
        """Upper end of the bucket below which ``fraction`` of all lie; None while nothing was recorded."""
        buckets = self.buckets()
        wanted = fraction * sum(count for _, count in buckets)
        seen = 0
        for upper_ns, count in buckets:
            seen += count
            if seen >= wanted:
                return min(upper_ns, self.max_ns)
        return None

    def octaves(self) -> list[tuple[int, int]]:
        """How many lie in each power of two that has any: (greatest ns in it, count), ascending. Exact."""
        counts: dict[int, int] = {}
        for upper_ns, count in self.buckets():
            greatest = max(1 << upper_ns.bit_length(), LEAST_OCTAVE) - 1
            counts[greatest] = counts.get(greatest, 0) + count
        return list(counts.items())

    def summary(self) -> dict[str, Any]:
        """``count``, ``p50``, ``p99``, ``p99.9``, ``max`` and ``sum``, in ns; ``octaves`` as the method gives them."""
        count = self.count
        return {
            "count": count,
            "p50": self.percentile(0.5),
            "p99": self.percentile(0.99),
            "p99.9": self.percentile(0.999),
            "max": self.max_ns if count else None,
            "sum": self.total_ns,
            "octaves": self.octaves(),
        }


@dataclass(slots=True)
class Counters(Tally):
    """What one bus has counted since it was made. ``events_published`` and ``events_delivered`` are counted by the engine."""

    events_failed: int = 0
    events_rejected: int = 0
    snapshots_created: int = 0
    replays_performed: int = 0
    deliveries_failed: int = 0
    deliveries_retried: int = 0
    deliveries_parked: int = 0
    deliveries_cancelled: int = 0
    schema_breaches: int = 0
    snapshots_ignored: int = 0
    snapshots_damaged: int = 0
    events_lost: int = 0
    loop_holds: int = 0
    housekeeping_passes: int = 0
    health_checks: int = 0
    segments_dropped: int = 0
    events_expired: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What is counted, the latency apart."""
        own = (one.name for one in fields(cls) if one.name != "latency")
        return ("events_published", "events_delivered", *own)

    def pick(self, names: Iterable[str]) -> dict[str, Any]:
        """These counters by name."""
        return {name: getattr(self, name) for name in names}

    def classic(self) -> dict[str, Any]:
        """Counted whatever the configuration says, besides ``events_processed``."""
        return self.pick(("events_failed", "events_rejected", "snapshots_created", "replays_performed"))

    def detailed(self) -> dict[str, Any]:
        """Everything else, the latency as its summary."""
        rest = (name for name in self.names() if name not in self.classic())
        return {**self.pick(rest), "latency_ns": self.latency.summary()}
