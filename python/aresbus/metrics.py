"""What the bus counts, and how long events take from publish to handler.

Owns counters and the latency histogram. Knows no bus. Invariants: recording never allocates and never locks; the
counters are written on the bus's loop, or by publishers under the GIL, where a lost count under contention is
accepted for the histogram but not for the four classic counters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["Counters", "LatencyHistogram"]

SUB_BITS = 3
"""Eight buckets per power of two: a percentile is at most 12.5 % too high."""
SUB_COUNT = 1 << SUB_BITS
OCTAVES = 64


class LatencyHistogram:
    """Counts of nanoseconds in log-linear buckets; fixed memory, percentiles within 12.5 %."""

    __slots__ = ("_counts", "max_ns", "total_ns")

    def __init__(self) -> None:
        """Begin with nothing recorded."""
        self._counts = [0] * (OCTAVES * SUB_COUNT)
        self.max_ns: int = 0
        self.total_ns: int = 0

    def record(self, ns: int) -> None:
        """Count one latency; a negative one (a clock that stepped) counts as 0."""
        if ns < SUB_COUNT:
            ns = max(ns, 0)
            self._counts[ns] += 1
        else:
            shift = ns.bit_length() - SUB_BITS - 1
            self._counts[(shift << SUB_BITS) + (ns >> shift)] += 1
        self.total_ns += ns
        if ns > self.max_ns:  # noqa: PLR1730 - a call of max() costs a third of all the rest
            self.max_ns = ns

    @property
    def count(self) -> int:
        """How many were recorded; summed up here, for whoever asks, and not at each delivery."""
        return sum(self._counts)

    def percentile(self, fraction: float) -> int | None:
        """Upper end of the bucket below which ``fraction`` of all lie; None while nothing was recorded."""
        wanted = fraction * self.count
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(_upper_end(index), self.max_ns)
        return None

    def buckets(self) -> Iterator[tuple[int, int]]:
        """Upper end in ns, inclusive, and count of each bucket that counted something, ascending."""
        return ((_upper_end(index), count) for index, count in enumerate(self._counts) if count)

    def octaves(self) -> list[tuple[int, int]]:
        """How many lie in each power of two that has any: (greatest ns in it, count), ascending. Exact."""
        return [
            (_upper_end(start + SUB_COUNT - 1), count)
            for start in range(0, len(self._counts), SUB_COUNT)
            if (count := sum(self._counts[start : start + SUB_COUNT]))
        ]

    def summary(self) -> dict[str, Any]:
        """``count``, ``p50``, ``p99``, ``p99.9``, ``max`` and ``sum``, in ns; ``octaves`` as the method gives them."""
        return {
            "count": self.count,
            "p50": self.percentile(0.5),
            "p99": self.percentile(0.99),
            "p99.9": self.percentile(0.999),
            "max": self.max_ns if any(self._counts) else None,
            "sum": self.total_ns,
            "octaves": self.octaves(),
        }


def _upper_end(index: int) -> int:
    if index < SUB_COUNT:
        return index
    shift = (index >> SUB_BITS) - 1
    return (((index & (SUB_COUNT - 1)) + SUB_COUNT + 1) << shift) - 1


@dataclass(slots=True)
class Counters:
    """What one bus has counted since it was made."""

    events_failed: int = 0
    events_rejected: int = 0
    snapshots_created: int = 0
    replays_performed: int = 0
    events_published: int = 0
    events_delivered: int = 0
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
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What is counted, the latency apart."""
        return tuple(one.name for one in fields(cls) if one.name != "latency")

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
