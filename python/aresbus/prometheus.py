"""The figures of a bus as Prometheus reads them: a collector for a registry, or a whole page as text.

Owns the translation; figures and meanings are `figures`'. Needs the extra: ``pip install aresbus[prometheus]``.
Invariants: read when scraped, counted nowhere twice; a collector does not keep its bus alive.
"""

import weakref
from collections.abc import Iterable
from typing import Any

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
        Metric,
    )
    from prometheus_client.registry import Collector
except ImportError as _missing:
    raise ImportError("prometheus_client is missing: pip install aresbus[prometheus]") from _missing

from aresbus._core import FORMAT_VERSION, __version__
from aresbus._typing import override
from aresbus.bus import EnhancedEventBus
from aresbus.figures import FIGURES, Figure, Reading, take_reading

__all__ = ["CONTENT_TYPE", "BusCollector", "text"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what :func:`text` gives."""
PREFIX = "aresbus_"
BUCKETS_NS = tuple((1 << bits) - 1 for bits in range(10, 35))
"""Upper ends of the latency's buckets: the powers of two from 1 µs to 17 s, where what the bus keeps is exact."""


class BusCollector(Collector):
    """Register it: ``prometheus_client.REGISTRY.register(BusCollector(bus))``. One bus a registry.

    Every scrape reads the bus, from whatever thread scrapes; a bus that is gone gives an empty page. The figures of
    a stopped bus stay, those of its log go.
    """

    def __init__(self, bus: EnhancedEventBus) -> None:
        self._bus = weakref.ref(bus)

    @override
    def collect(self) -> Iterable[Metric]:
        """All figures as they are now."""
        bus = self._bus()
        if bus is None:
            return
        reading = take_reading(bus)
        yield InfoMetricFamily(
            f"{PREFIX}build",
            "Version of the package and of its log format",
            {"version": __version__, "log_format": str(FORMAT_VERSION)},
        )
        for figure in FIGURES:
            if (family := _family(figure, reading)) is not None:
                yield family
        if (latency := reading.metrics.get("latency_ns")) is not None:
            yield _histogram(latency)


def text(bus: EnhancedEventBus) -> str:
    """The page of one bus in Prometheus' text format. Any thread; about a millisecond."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BusCollector(bus))
    return generate_latest(registry).decode("utf-8")


def _family(figure: Figure, reading: Reading) -> Metric | None:
    samples = list(figure.samples(reading))
    if not samples:
        return None
    make = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
    names = list(samples[0][0])
    family = make(f"{PREFIX}{figure.name}", figure.meaning, labels=names)
    for labels, value in samples:
        family.add_metric([labels[name] for name in names], float(value))
    return family


def _histogram(latency: dict[str, Any]) -> Metric:
    octaves: list[tuple[int, int]] = latency["octaves"]
    buckets = [
        (str(upper / 1e9), float(sum(count for end, count in octaves if end <= upper)))
        for upper in BUCKETS_NS
    ]
    family = HistogramMetricFamily(
        f"{PREFIX}publish_to_handler_seconds", "Time from publish to handler, of live deliveries"
    )
    # Not latency["count"]: a delivery that is counted while we read would make the last bucket exceed it.
    everything = float(sum(count for _, count in octaves))
    family.add_metric([], [*buckets, ("+Inf", everything)], latency["sum"] / 1e9)
    return family
