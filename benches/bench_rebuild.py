"""What rebuilding an aggregate costs from its snapshot and 100 later events, as ratios to a floor measured in the same run.

Floor: orjson.loads of the same state and of the payloads of the same 100 events, which is the least that anybody would do.
Subject: aresbus.rebuild of an aggregate in a log that is open for writing: the newest snapshot is found, read, checked
(checksum, digest, the event that it is of), 100 events are found among those of five other aggregates and folded by a Python
reducer. "with 10,000 others": as many aggregates have a snapshot in the same folder. "from zero": without the snapshot, all
10,000 events of the aggregate, against loads of them all.

It matters because an order that is loaded for each command must not cost more than the command. Refuses to measure a debug
build. Prints a table.
"""

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aresbus
import measure
import orjson
from aresbus import Event, Reducers, _core, drop_snapshots, take_snapshot
from aresbus.benchmark.timing import Case, timed

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench-rebuild"
ORDER = "order-0"
LATER = 100
REBUILDS = 50


def add(state: dict[str, Any], event: Event) -> None:
    """Keep the newest price and the sum of the quantities."""
    state["filled"] = state.get("filled", 0) + event.data["quantity"]
    state["price"] = event.data["price"]


def open_lots(state: dict[str, Any], event: Event) -> None:
    """Begin with a list of lots, which makes the state as large as it is told to be."""
    state["lots"] = [
        {"quantity": n, "price": 61_000 + n / 8, "side": "buy"} for n in range(event.data["lots"])
    ]


def reducers() -> Reducers:
    """Of orders."""
    made = Reducers()
    made.register("order_filled", add, category="order")
    made.register("order_opened", open_lots, category="order")
    return made


def fill(log: aresbus.Log, count: int) -> None:
    """Fills of the order among events of five others."""
    for n in range(count):
        for other in range(1, 6):
            log.append(
                "order_filled", {"quantity": 1, "price": 61_000.5, "n": n}, aggregate_id=f"order-{other}"
            )
        log.append("order_filled", {"quantity": 2, "price": 61_000.25 + n, "n": n}, aggregate_id=ORDER)


def loading(log: aresbus.Log, state: bytes, count: int) -> Callable[[Any], int]:
    """The floor."""
    raws = [event.raw or b"" for event in log.read(aggregate_id=ORDER)][-count:]

    def work(rounds: range) -> None:
        loads = orjson.loads
        for _ in rounds:
            loads(state)
            for raw in raws:
                loads(raw)

    return timed(work)


def rebuilding(log: aresbus.Log, folded: Reducers, events: int | None) -> Callable[[Any], int]:
    """The subject; ``events`` is the version that the state must have come to."""

    def work(rounds: range) -> None:
        for _ in rounds:
            assert aresbus.rebuild(log, ORDER, folded).version == events

    return timed(work)


def case(name: str, *, lots: int, others: int = 0, from_zero: int = 0) -> tuple[aresbus.Log, str, Case]:
    """One log with one order in it."""
    log, folded = aresbus.open(FOLDER / name.replace(" ", "-")), reducers()
    log.append("order_opened", {"lots": lots}, aggregate_id=ORDER)
    fill(log, from_zero)
    take_snapshot(log, ORDER, folded)
    for other in range(others):
        # Only their files matter, not whether they were synced one by one.
        payload = Path(log.path or "") / "snapshots" / f"{other:032x}-{other:016}.snap"
        payload.write_bytes(b"")
    log.close()
    log = aresbus.open(FOLDER / name.replace(" ", "-"))
    fill(log, LATER)
    state = orjson.dumps(aresbus.rebuild(log, ORDER, folded).state)
    if from_zero:
        drop_snapshots(log)
    count = from_zero + LATER
    floor = loading(log, state, count)
    rounds = range(1 if from_zero else REBUILDS)
    subject = rebuilding(log, folded, count)
    inputs = f"{name}, {len(state):,} B"
    return log, inputs, Case("rebuild", "orjson.loads", floor, subject, rounds)


def main() -> None:
    """Measure and print; see the file's first paragraph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=21, help="rounds that count (default 21)")
    arguments = parser.parse_args()
    if _core.DEBUG_BUILD:
        sys.exit("this is a debug build; `make build` makes one that is worth measuring")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    found = []
    for name, settings in (
        ("small state", {"lots": 1}),
        ("100 lots", {"lots": 100}),
        ("1,000 lots", {"lots": 1_000}),
        ("100 lots with 10,000 others", {"lots": 100, "others": 10_000}),
        ("from zero", {"lots": 100, "from_zero": 10_000}),
    ):
        log, inputs, made = case(name, **settings)
        with log:
            found.append(measure.compared("P15", inputs, made, arguments.rounds))
    shutil.rmtree(FOLDER)
    print(
        f"{measure.table(found)}\n\nMedians of {arguments.rounds} rounds; {measure.machine(ROOT, ROOT / 'target')}."
    )


if __name__ == "__main__":
    main()
