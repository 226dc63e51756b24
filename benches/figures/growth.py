"""What an append costs once there is much behind it.

P18  append to a log of a million events (--growth says how many), of a thousand aggregates, and of as many aggregates as
     events, there both to a thousand of them and to any; against an append to a log that was empty at the first round, of a
     thousand aggregates, and has a tenth of that by the last. It matters because a bot that runs for a year must not become slower.

A round is the medians of ten short turns, since most of what differs from turn to turn is rolling and syncing. Logs of up to
100 million events are bench_many.py's.
"""

import random
from collections.abc import Iterator, Sequence

import aresbus
import orjson
from aresbus.benchmark import hot_path, payloads
from aresbus.benchmark.timing import Case, Loop
from measure import Figure, Run, compared

TURNS = 10
PART = 50
"""Of a round's events a turn has so many times less."""
PAYLOAD = orjson.dumps(payloads.trade(1_234_567))


def fill(log: aresbus.Log, aggregates: Sequence[str], events: int) -> None:
    """So many trades, one aggregate after the other; then nothing is left to be synced."""
    append, count = log.append_bytes, len(aggregates)
    for number in range(events):
        append(payloads.EVENT_TYPE, PAYLOAD, encoding="json", aggregate_id=aggregates[number % count])
    log.sync()


def appending_to_any(log: aresbus.Log, aggregates: Sequence[str]) -> Loop:
    """The inputs, of aggregates drawn anew each round before the clock runs."""
    chance, append = random.Random(21), hot_path.appending(log)

    def loop(inputs: Sequence[payloads.Input]) -> int:
        return append([(data, chance.choice(aggregates), talk) for data, _, talk in inputs])

    return loop


def figures(run: Run) -> Iterator[Figure]:
    """P18."""
    inputs = payloads.cold_inputs(run.events // PART)
    others = [f"order-{number:07d}" for number in range(max(0, run.growth - len(payloads.AGGREGATES)))]
    many = payloads.AGGREGATES + others
    events = f"{run.growth:,} events"
    for name, aggregates in (("few", payloads.AGGREGATES), ("many", many)):
        with (
            aresbus.open(run.folder / f"young-{name}") as young,
            aresbus.open(run.folder / f"grown-{name}") as grown,
        ):
            fill(grown, aggregates, run.growth)
            title = f"append to a log of {events}, {len(aggregates):,} aggregates"
            loops = {title: hot_path.appending(grown)}
            if aggregates is many:
                loops = {
                    f"{title}, to 1,000 of them": hot_path.appending(grown),
                    f"{title}, to any": appending_to_any(grown, many),
                }
            floor = hot_path.appending(young)
            for what, loop in loops.items():
                case = Case(what, "a log that was empty", floor, loop, inputs)
                yield compared("P18", "cold", case, run.rounds, limit=1.3, turns=TURNS)
