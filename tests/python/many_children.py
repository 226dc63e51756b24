"""A writer of very many aggregates that measures itself. Run as ``python many_children.py PATH COUNT``; prints one JSON object.

Owns no check. Costs are compared by turns in one process: of appends to a thousand aggregates in a log that has no others, to a
thousand busy ones among all, and to any of all.
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import aresbus

FEW = 1_000
BATCH = 1_000
ROUNDS, EACH = 31, 1_000
TRADE = {"symbol": "BTCUSDT", "side": "buy", "quantity": 0.5, "price": 61250.5}


def anonymous_bytes() -> int:
    """Memory of this process that is no file's: mapped segments are not in it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("RssAnon"))
    return int(kib) * 1024


def name(number: int) -> str:
    """Fourteen characters."""
    return f"order-{number:08d}"


def fill(log: aresbus.Log, count: int) -> None:
    """An event each."""
    for first in range(0, count, BATCH):
        log.append_many(
            [
                {"event_type": "opened", "data": 1, "aggregate_id": name(n)}
                for n in range(first, first + BATCH)
            ]
        )


def took_ns(log: aresbus.Log, aggregates: Sequence[str]) -> float:
    """One append."""
    append, start = log.append, time.perf_counter_ns()
    for aggregate_id in aggregates:
        append("trade_executed", TRADE, source="exchange", aggregate_id=aggregate_id)
    return (time.perf_counter_ns() - start) / len(aggregates)


def main(path: str, count: int) -> None:
    """Fill both, measure, open again."""
    chance = random.Random(1)
    options = {"audit": False, "sealing": "off"}  # a sealer at work has memory of its own
    with aresbus.open(f"{path}/few", **options) as few, aresbus.open(f"{path}/many", **options) as many:
        fill(few, FEW)
        before = anonymous_bytes()
        fill(many, count)
        memory = anonymous_bytes() - before
        rounds: dict[str, list[float]] = {"busy": [], "any": []}
        for _ in range(ROUNDS):
            busy = [chance.randrange(count) for _ in range(FEW)]
            floor = took_ns(few, [name(chance.randrange(FEW)) for _ in range(EACH)])
            took_ns(many, list(map(name, busy)))  # they are busy: it is not their first event for long
            rounds["busy"].append(took_ns(many, [name(chance.choice(busy)) for _ in range(EACH)]) / floor)
            rounds["any"].append(took_ns(many, [name(chance.randrange(count)) for _ in range(EACH)]) / floor)
    with aresbus.open(f"{path}/many", audit=False) as again:
        kept = again.stats()["aggregate_count"]
        version = again.aggregate_version(name(count - 1))
    figures = {what: statistics.median(ratios) for what, ratios in rounds.items()}
    print(json.dumps({"bytes": memory / count, "kept": kept, "version": version, **figures}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
