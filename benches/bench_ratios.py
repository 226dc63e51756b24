"""What storing, delivering and replaying an event costs, as ratios to floors measured in the same run.

P1   append of a trade with full metadata (type, source, correlation id, one of 1,000 aggregate ids, event id and time by
     the engine), Python to Python, committed; against orjson.dumps of the same dict. It matters because nobody turns on a
     log that costs more than the JSON which was written anyway.
P5   publish and one handler that gets the event, persisted; against a bus in plain Python that builds its event and
     calls its handler, and stores nothing. Delivery is by process_pending() after every 500 publishes; schema checks and
     snapshots are off, all else is default.
P9   replay of events whose data nobody touches, and of events whose data is decoded; against orjson.loads of the payloads.
P10  replay of events with data and metadata; against orjson.loads of the payloads.

Warm inputs are one trade over and over, cold ones 50,000 distinct dicts fresh from a decoder, a thousand aggregates in
random order. Appends roll through segments of a log that grows through all rounds; files lie under target/, which should
be a disk. Refuses to measure a debug build. Prints a table; --write puts it into benches/results.md and README.md.
"""

import argparse
import asyncio
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aresbus
import measure
import orjson
import payloads
from aresbus import EnhancedEventBus, Event, EventType, _core

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench"
RESULTS = ROOT / "benches" / "results.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
PUBLISHES_PER_PASS = 500  # below max_history, so that the handler gets the very object that was published


class PlainEvent:
    """What a bus in plain Python builds for each event."""

    __slots__ = ("aggregate_id", "correlation_id", "data", "event_id", "event_type", "source", "ts_ns")

    def __init__(
        self, event_type: str, data: Any, source: str, correlation_id: str, aggregate_id: str
    ) -> None:
        """Takes its id from a counter, its time from the clock."""
        self.event_type = event_type
        self.data = data
        self.source = source
        self.correlation_id = correlation_id
        self.aggregate_id = aggregate_id
        self.event_id = next(PLAIN_IDS)
        self.ts_ns = time.time_ns()


PLAIN_IDS = itertools.count()


class PlainBus:
    """The floor of P5: a dict of handlers, called at once. Stores nothing, survives nothing."""

    def __init__(self) -> None:
        """Without handlers."""
        self.handlers: dict[str, list[Callable[[PlainEvent], object]]] = {}

    def publish(
        self, event_type: str, data: Any, source: str, correlation_id: str, aggregate_id: str
    ) -> None:
        """Build the event and hand it to each handler."""
        event = PlainEvent(event_type, data, source, correlation_id, aggregate_id)
        for handler in self.handlers.get(event_type, ()):
            handler(event)


@measure.timed
def dumps_each(inputs: Sequence[payloads.Input]) -> None:
    """The floor of P1."""
    dumps = orjson.dumps
    for data, _, _ in inputs:
        dumps(data)


@measure.timed
def loads_each(inputs: Sequence[bytes]) -> None:
    """The floor of P9 and P10."""
    loads = orjson.loads
    for raw in inputs:
        loads(raw)


def appending(log: aresbus.Log) -> measure.Loop:
    """The subject of P1."""

    def work(inputs: Sequence[payloads.Input]) -> None:
        append, event_type, source = log.append, payloads.EVENT_TYPE, payloads.SOURCE
        for data, aggregate_id, correlation_id in inputs:
            append(event_type, data, source=source, correlation_id=correlation_id, aggregate_id=aggregate_id)

    return measure.timed(work)


def publishing_plainly() -> measure.Loop:
    """The floor of P5."""
    bus, seen = PlainBus(), 0

    def handler(event: PlainEvent) -> None:
        nonlocal seen
        seen += event.event_type == payloads.EVENT_TYPE

    bus.handlers[payloads.EVENT_TYPE] = [handler]

    def work(inputs: Sequence[payloads.Input]) -> None:
        publish, event_type, source = bus.publish, payloads.EVENT_TYPE, payloads.SOURCE
        for data, aggregate_id, correlation_id in inputs:
            publish(event_type, data, source, correlation_id, aggregate_id)

    return measure.timed(work)


def publishing(loop: asyncio.AbstractEventLoop, bus: EnhancedEventBus) -> measure.Loop:
    """The subject of P5."""
    seen = 0

    def handler(event: Event) -> None:
        nonlocal seen
        seen += event.event_type is EventType.TRADE_EXECUTED

    bus.subscribe(EventType.TRADE_EXECUTED, handler)

    async def publish_all(inputs: Sequence[payloads.Input]) -> None:
        expected = seen + len(inputs)
        publish, event_type, source = bus.publish, EventType.TRADE_EXECUTED, payloads.SOURCE
        for start in range(0, len(inputs), PUBLISHES_PER_PASS):
            for data, aggregate_id, correlation_id in inputs[start : start + PUBLISHES_PER_PASS]:
                await publish(event_type, data, source, correlation_id, aggregate_id)
            while not bus.event_queue.empty():
                await bus.process_pending()
        assert seen == expected

    return measure.timed(lambda inputs: loop.run_until_complete(publish_all(inputs)))


def replaying(log: aresbus.Log, touch: Callable[[Event], object] | None) -> measure.Loop:
    """The subject of P9 and P10."""

    def work(inputs: Sequence[bytes]) -> None:
        if touch is None:
            for _ in log.read():
                pass
        else:
            for event in log.read():
                touch(event)
        assert log.last_seq == len(inputs) - 1

    return measure.timed(work)


def touch_data(event: Event) -> None:
    """Decode the payload."""
    _ = event.data


def touch_all(event: Event) -> None:
    """Decode the payload, make the metadata."""
    _ = event.data
    _ = event.metadata


@contextmanager
def opened_bus(folder: Path) -> Iterator[tuple[asyncio.AbstractEventLoop, EnhancedEventBus]]:
    """A bus without schema checks and snapshots, which the plain bus has none of, on a loop of its own."""
    settings = {"storage_path": str(folder), "schema_validation": False, "enable_snapshots": False}
    with asyncio.Runner() as runner:
        bus = EnhancedEventBus({"event_bus": settings}, strict=True)
        runner.run(bus.initialize())
        yield runner.get_loop(), bus
        runner.run(bus.stop())


def writing_results(name: str, inputs: Sequence[payloads.Input], rounds: int) -> Iterator[measure.Result]:
    """P1 and P5 on one kind of input."""
    with aresbus.open(FOLDER / f"append-{name}") as log:
        case = measure.Case(
            "P1", "append, full metadata", "orjson.dumps", name, dumps_each, appending(log), inputs
        )
        yield measure.measure(case, rounds)
    with opened_bus(FOLDER / f"publish-{name}") as (loop, bus):
        case = measure.Case(
            "P5",
            "publish + handler, persisted",
            "plain Python bus",
            name,
            publishing_plainly(),
            publishing(loop, bus),
            inputs,
        )
        yield measure.measure(case, rounds)


def reading_results(name: str, inputs: Sequence[payloads.Input], rounds: int) -> Iterator[measure.Result]:
    """P9 and P10 on one kind of input."""
    with aresbus.open(FOLDER / f"replay-{name}") as log:
        appending(log)(inputs)
        raws = [orjson.dumps(data) for data, _, _ in inputs]
        for figure, title, touch in (
            ("P9", "replay, data untouched", None),
            ("P9", "replay, data touched", touch_data),
            ("P10", "replay, data and metadata", touch_all),
        ):
            case = measure.Case(figure, title, "orjson.loads", name, loads_each, replaying(log, touch), raws)
            yield measure.measure(case, rounds)


def run(count: int, rounds: int) -> list[measure.Result]:
    """All cases, each result told on stderr as it comes."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    results = []
    try:
        for name, make in (("warm", payloads.warm_inputs), ("cold", payloads.cold_inputs)):
            inputs = make(count)
            for part in (writing_results, reading_results):
                for result in part(name, inputs, rounds):
                    results.append(result)
                    print(
                        f"{result.case.figure:4}{result.case.title} ({name}): {result.ratio:.2f}×",
                        file=sys.stderr,
                    )
    finally:
        shutil.rmtree(FOLDER)
    return sorted(results, key=lambda result: int(result.case.figure[1:]))


def write(table: str, caption: str) -> None:
    """Replace benches/results.md and what stands between the marks in README.md."""
    how = (__doc__ or "").split("\n\n", 1)[1].strip()
    RESULTS.write_text(
        f"# Ratios\n\nWritten by `make bench`. {caption}\n\n{table}\n\n```text\n{how}\n```\n",
        encoding="utf-8",
    )
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{table}\n\n{caption}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure and print; see the file's first paragraph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11, help="rounds that count (default 11)")
    parser.add_argument("--events", type=int, default=50_000, help="events a round (default 50,000)")
    parser.add_argument(
        "--write", action="store_true", help="write benches/results.md and the README's table"
    )
    arguments = parser.parse_args()
    if _core.DEBUG_BUILD:
        sys.exit("this is a debug build; `make build` makes one that is worth measuring")
    if arguments.write and arguments.rounds < measure.MIN_ROUNDS:
        sys.exit(f"results that are written need {measure.MIN_ROUNDS} rounds")
    os.environ.pop("ARESBUS_STORAGE_PATH", None)
    machine = measure.machine(ROOT, ROOT / "target")
    results = run(arguments.events, arguments.rounds)
    table = measure.table(results)
    caption = (
        f"Medians of {arguments.rounds} rounds of {arguments.events:,} events, floor and subject by turns; "
        f"trades of {payloads.TRADE_BYTES} bytes, durability `interval`. {machine}."
    )
    print(f"{table}\n\n{caption}")
    if arguments.write:
        write(table, caption)


if __name__ == "__main__":
    main()
