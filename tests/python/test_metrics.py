"""The latency histogram: percentiles within an eighth, fixed memory, nothing lost at the edges."""

import random

import pytest
from aresbus.metrics import Counters, LatencyHistogram


def test_nothing_recorded_has_no_percentiles():
    assert LatencyHistogram().summary() == {
        "count": 0,
        "p50": None,
        "p99": None,
        "p99.9": None,
        "max": None,
        "sum": 0,
        "octaves": [],
    }


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_within_an_eighth_above(seed):
    generator = random.Random(seed)
    values = [int(generator.lognormvariate(10, 3)) for _ in range(5_000)]
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    values.sort()
    for fraction in (0.5, 0.9, 0.99, 0.999, 1.0):
        exact = values[max(0, -(-int(fraction * 10_000) * len(values) // 10_000) - 1)]
        assert exact <= histogram.percentile(fraction) <= exact * 1.125 + 1
    assert histogram.summary()["max"] == values[-1]
    assert histogram.summary()["sum"] == sum(values)


def test_the_edges():
    histogram = LatencyHistogram()
    for value in (-5, 0, 7, 8, 2**62):
        histogram.record(value)
    assert histogram.count == 5
    assert histogram.percentile(0.2) == 0
    assert histogram.percentile(1.0) == 2**62
    assert histogram.total_ns == 15 + 2**62  # a clock that stepped back takes nothing from the sum


def test_octaves_are_exact_to_the_nanosecond():
    histogram = LatencyHistogram()
    values = [0, 7, 8, 15, 16, 1_023, 1_024, 2_047, 2_048, 10**9]
    for value in values:
        histogram.record(value)
    octaves = histogram.octaves()
    assert [upper for upper, _ in octaves] == [7, 15, 31, 1_023, 2_047, 4_095, 2**30 - 1]
    for at, (upper, _) in enumerate(octaves):
        assert sum(count for _, count in octaves[: at + 1]) == sum(value <= upper for value in values)


def test_every_counter_is_named_once_and_told():
    counters = Counters()
    told = {**counters.classic(), **counters.detailed()}
    assert set(told) == {*Counters.names(), "latency_ns"}
