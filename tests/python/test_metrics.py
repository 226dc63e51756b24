"""The latency histogram: percentiles within an eighth, fixed memory, nothing lost at the edges."""

import random

import pytest
from aresbus.metrics import LatencyHistogram


def test_nothing_recorded_has_no_percentiles():
    assert LatencyHistogram().summary() == {"count": 0, "p50": None, "p99": None, "p99.9": None, "max": None}


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


def test_the_edges():
    histogram = LatencyHistogram()
    for value in (-5, 0, 7, 8, 2**62):
        histogram.record(value)
    assert histogram.count == 5
    assert histogram.percentile(0.2) == 0
    assert histogram.percentile(1.0) == 2**62
