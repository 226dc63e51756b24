"""Single calls under pytest-benchmark: for comparing two commits on one machine, not for claims (bench_figures.py).

`make bench` runs them after the figures; `pytest benches --benchmark-enable --benchmark-save=NAME` keeps a run.
"""

from itertools import cycle

import aresbus
import pytest
from aresbus.benchmark import payloads

INPUTS = 1_000


@pytest.fixture
def log(tmp_path):
    with aresbus.open(tmp_path / "log") as opened:
        yield opened


def test_append(benchmark, log):
    inputs = cycle(payloads.cold_inputs(INPUTS))

    def append():
        data, aggregate_id, correlation_id = next(inputs)
        log.append(payloads.EVENT_TYPE, data, aggregate_id=aggregate_id, correlation_id=correlation_id)

    benchmark(append)


def test_append_bytes_of_256(benchmark, log):
    benchmark(log.append_bytes, payloads.EVENT_TYPE, bytes(256))


def test_append_many_of_1000(benchmark, log):
    batch = [(payloads.EVENT_TYPE, data) for data in payloads.distinct_trades(INPUTS)]
    benchmark(log.append_many, batch)


def test_read_1000(benchmark, log):
    log.append_many([(payloads.EVENT_TYPE, data) for data in payloads.distinct_trades(INPUTS)])
    events = benchmark(lambda: list(log.read()))
    assert len(events) == INPUTS


def test_load_one_aggregate_of_a_thousand(benchmark, log):
    for data, aggregate_id, _ in payloads.cold_inputs(INPUTS * 10):
        log.append(payloads.EVENT_TYPE, data, aggregate_id=aggregate_id)
    events = benchmark(lambda: list(log.read(aggregate_id=payloads.AGGREGATES[0])))
    assert events
