"""What replaying stored events costs.

P9   replay of events whose data nobody touches, and of events whose data is decoded; against orjson.loads of the payloads.
P10  replay of events with data and metadata; against orjson.loads of the payloads.

It matters because a restart, a backtest and a report all read everything. The scan below Python is scan.py's (P11).
"""

from collections.abc import Iterator

import aresbus
import orjson
from aresbus.benchmark import hot_path, payloads
from aresbus.benchmark.timing import Case
from measure import Figure, Run, compared


def figures(run: Run) -> Iterator[Figure]:
    """P9 and P10."""
    for name, make in (("warm", payloads.warm_inputs), ("cold", payloads.cold_inputs)):
        inputs = make(run.events)
        raws = [orjson.dumps(data) for data, _, _ in inputs]
        with aresbus.open(run.folder / f"replay-{name}") as log:
            hot_path.appending(log)(inputs)
            for number, title, touch, limit in (
                ("P9", "replay, data untouched", None, 0.25),
                ("P9", "replay, data touched", hot_path.touch_data, 1.1),
                ("P10", "replay, data and metadata", hot_path.touch_all, 1.1),
            ):
                subject = hot_path.replaying(log, touch)
                case = Case(title, "orjson.loads", hot_path.loads_each, subject, raws)
                yield compared(number, name, case, run.rounds, limit=limit)
