"""How long one append takes, of a hundred thousand a second.

P7   append of a cold trade with aggregate and correlation id every 10 µs under `interval`, syncing each 10 ms, all else default; against
     the same loop under `none`, which nothing syncs. It matters because a bot feels its slowest append, not its mean. *Service* is from
     the call to its return; *from the intended start* counts what an earlier append made it wait too, so that nothing
     that was slow is left out. The value is the service time's p99.9, as are both times in nanoseconds.

A second table has the percentiles, and those with one work of the keeper at a time: populating pages ahead of the appender,
which it always does; syncing; rolling, through segments of 1 MiB; sealing, of segments of 4 MiB. By turns, in an order drawn by lot in each
round; before each turn everything is synced and sealed. Percentiles are those of a histogram, an eighth too high at most; medians
of the rounds. Both threads of this kind of machine are busy then, the loop spins: above p99.9 it shows its scheduler.
"""

import gc
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import aresbus
from aresbus.benchmark import payloads
from aresbus.metrics import LatencyHistogram
from measure import MICROSECONDS, PERCENTILES, Figure, Run, latencies

GAP_NS = 10_000
UNSYNCED, DEFAULT = "without sync", "syncing each 10 ms (default)"
WORKS: dict[str, dict[str, Any]] = {
    UNSYNCED: {"durability": "none"},
    DEFAULT: {},
    "populating alone": {"durability": "none", "sealing": "off"},
    "and syncing": {"sealing": "off"},
    "and rolling": {"durability": "none", "sealing": "off", "segment_bytes": 1 << 20},
    "and sealing": {"durability": "none", "segment_bytes": 1 << 22},
}
P99_9 = PERCENTILES.index(0.999)

Turn = tuple[list[int], list[int]]
"""Percentiles and maximum in ns: of the service time, and from the intended start."""


def paced(log: aresbus.Log, inputs: Sequence[payloads.Input]) -> Turn:
    """Append at a pace."""
    service, intended = LatencyHistogram(), LatencyHistogram()
    append, clock, event_type, source = log.append, time.perf_counter_ns, payloads.EVENT_TYPE, payloads.SOURCE
    due = clock()
    for data, aggregate_id, correlation_id in inputs:
        due += GAP_NS
        start = clock()
        while start < due:
            start = clock()
        append(event_type, data, source=source, correlation_id=correlation_id, aggregate_id=aggregate_id)
        end = clock()
        service.record(end - start)
        intended.record(end - due)
    return read_off(service), read_off(intended)


def read_off(histogram: LatencyHistogram) -> list[int]:
    """What is shown of it."""
    return [*(histogram.percentile(fraction) or 0 for fraction in PERCENTILES), histogram.max_ns]


def settle(log: aresbus.Log, options: dict[str, Any]) -> None:
    """Until the keeper has nothing left to do."""
    log.sync()
    while options.get("sealing") != "off" and not all(
        one["is_sealed"] for one in log.stats()["segments"][:-1]
    ):
        time.sleep(0.001)


def turns(run: Run) -> dict[str, list[Turn]]:
    """By what the keeper does, a turn a round."""
    lot, inputs = random.Random(0), payloads.cold_inputs(run.events)
    found: dict[str, list[Turn]] = {name: [] for name in WORKS}
    with ExitStack() as stack:
        logs = {
            name: stack.enter_context(aresbus.open(run.folder / f"paced-{number}", **options))
            for number, (name, options) in enumerate(WORKS.items())
        }
        for _ in range(run.rounds + 1):
            for name in lot.sample(list(WORKS), len(WORKS)):
                gc.collect()
                found[name].append(paced(logs[name], inputs))
                settle(logs[name], WORKS[name])
    return {name: taken[1:] for name, taken in found.items()}


def figures(run: Run) -> Iterator[Figure | str]:
    """P7, and the percentiles."""
    found = turns(run)
    floors, subjects = ([service[P99_9] for service, _ in found[name]] for name in (UNSYNCED, DEFAULT))
    what = "append, 100,000 a second, service p99.9"
    yield Figure("P7", what, "cold", "without sync", floors, subjects, limit=150, measure=MICROSECONDS)
    rows = {
        f"{name}, {part}": [turn[at] for turn in taken]
        for name, taken in found.items()
        for at, part in enumerate(("service", "from the intended start"))
    }
    yield latencies("append, 100,000 a second, µs", rows)
