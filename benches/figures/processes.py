"""From process to process: Python appends, Python in another process has the event.

P8   half of a round trip through two logs, each written by one process and followed by the other; against the same two
     processes passing the same 256 bytes through shared memory, each spinning in Python: the floor of the machine and of
     the interpreter. It matters because a strategy that runs beside its feed must not trade on yesterday's price. The limit
     of p50 is held against that floor; p99.9 has one against a peer only (half of pyaeron's), which is not in this run.

A second table has the percentiles. How soon a reader that sleeps is woken is bench_processes.py's.
"""

import subprocess
import sys
from collections.abc import Iterator

from measure import PERCENTILES, Figure, Run, latencies, percentile

from figures import round_trips

PART = 0.4
"""Of a round's events so many are sent each way: 20,000 of 50,000."""


def half_trips(run: Run, count: int) -> list[list[list[int]]]:
    """Times in ns: of shared memory and of the logs, of each round."""
    (run.folder / "shared").write_bytes(bytes(2 * round_trips.AREA_BYTES))
    arguments = [str(run.folder), str(run.rounds), str(count)]
    taken: list[list[list[int]]] = [[], []]
    with subprocess.Popen([sys.executable, round_trips.__file__, *arguments]) as other:
        try:
            ways = round_trips.ways(run.folder, 0)
            for way, times in round_trips.turns(run.rounds, count):
                taken[way].append(round_trips.ping(ways[way], times))
        except BaseException:
            other.kill()
            raise
    return [rounds[1:] for rounds in taken]


def figures(run: Run) -> Iterator[Figure | str]:
    """P8, and the percentiles."""
    memory, log = (
        [[*(percentile(times, fraction) for fraction in PERCENTILES), max(times)] for times in rounds]
        for rounds in half_trips(run, max(1, int(run.events * PART)))
    )
    for fraction, limit in ((0.5, 1.2), (0.999, None)):
        at = PERCENTILES.index(fraction)
        floors, subjects = ([numbers[at] for numbers in rounds] for rounds in (memory, log))
        what = f"half round trip between processes, p{100 * fraction:g}"
        yield Figure("P8", what, "256 B", "shared memory", floors, subjects, limit)
    yield latencies("half round trip, µs", {"shared memory": memory, "log": log})
