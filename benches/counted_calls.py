"""The calls whose instructions `make instructions` counts (instructions.py runs this under callgrind).

Owns the loops and where counting begins and ends: callgrind starts a new count whenever `getpgrp` is called, a system
call that nothing else here makes. Says on stdout what was counted, in that order, with the number of events. Without
callgrind it only runs.

Each loop is warm when it is counted: its log knows all aggregates and texts, the ring of the bus is full, Python has
specialised the code. What is older is hidden from the garbage collector, which else runs as in any program. A log
stays within its first segment of 1 MiB, so that no roll falls into a count.
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aresbus
from aresbus import EnhancedEventBus, Event, EventType, _core
from aresbus.benchmark import hot_path, payloads
from aresbus.testing import settled

FOLDER = Path(__file__).parents[1] / "target"
WARM_UPS = 1_000
EVENTS = 1_500
BOOKS_WARM_UPS, BOOKS = 100, 500
BATCH = 1_000
RAW = bytes(range(256))

counted: list[tuple[str, int]] = []


@contextmanager
def count(name: str, events: int) -> Iterator[None]:
    """Count what the body does, which handles so many events."""
    gc.collect()
    gc.freeze()
    os.getpgrp()
    yield
    os.getpgrp()
    counted.append((name, events))


def count_loop(
    name: str, work: Callable[[Sequence[Any]], object], inputs: Sequence[Any], warm_ups: int
) -> None:
    """Count one pass over the inputs behind the first few, which warm the loop up."""
    work(inputs[:warm_ups])
    rest = inputs[warm_ups:]
    with count(name, len(rest)):
        work(rest)


def plainly(inputs: Sequence[payloads.Input]) -> None:
    """The control: what is the interpreter's alone, so that another build of it is told from a change of ours."""
    bus = hot_path.PlainBus()
    for data, aggregate_id, correlation_id in inputs:
        bus.publish(payloads.EVENT_TYPE, data, payloads.SOURCE, correlation_id, aggregate_id)


def each(append: Callable[[str, Any], object], event_type: str) -> Callable[[Sequence[Any]], None]:
    """One event each, with a type alone."""

    def work(inputs: Sequence[Any]) -> None:
        for one in inputs:
            append(event_type, one)

    return work


def count_appends(folder: Path, inputs: Sequence[payloads.Input]) -> None:
    """One event each, then a thousand at once."""
    with aresbus.open(folder / "trades", durability="none") as log:
        count_loop("append, trade", hot_path.appending(log), inputs, WARM_UPS)
    with aresbus.open(folder / "books", durability="none") as log:
        books = payloads.distinct_books(BOOKS_WARM_UPS + BOOKS)
        count_loop("append, book", each(log.append, "book"), books, BOOKS_WARM_UPS)
    with aresbus.open(folder / "raw", durability="none") as log:
        count_loop(
            "append_bytes, 256 bytes", each(log.append_bytes, "raw"), [RAW] * (WARM_UPS + EVENTS), WARM_UPS
        )
    batch = [
        {"event_type": payloads.EVENT_TYPE, "data": data, "aggregate_id": one, "correlation_id": talk}
        for data, one, talk in inputs[:BATCH]
    ]
    with aresbus.open(folder / "batches", durability="none") as log:
        log.append_many(batch, source=payloads.SOURCE)
        with count("append_many, 1,000 trades", BATCH):
            log.append_many(batch, source=payloads.SOURCE)


async def count_publish(
    folder: Path, name: str, inputs: Sequence[payloads.Input], handler: Callable[[Event], None] | None
) -> None:
    """Await each; the bus delivers, checks no schema and takes no snapshots."""

    async def work(inputs: Sequence[payloads.Input]) -> None:
        publish, event_type, source = bus.publish, EventType.TRADE_EXECUTED, payloads.SOURCE
        for data, aggregate_id, correlation_id in inputs:
            await publish(event_type, data, source, correlation_id, aggregate_id)

    settings = {"storage_path": str(folder), "schema_validation": False, "enable_snapshots": False}
    async with EnhancedEventBus({"event_bus": settings}, strict=True) as bus:
        if handler is not None:
            bus.subscribe(EventType.TRADE_EXECUTED, handler, inline=True)
        await work(inputs[:1])
        await settled(bus)  # the loop delivers: from here on the handler is called within the publish
        await work(inputs[1:WARM_UPS])
        rest = inputs[WARM_UPS:]
        with count(name, len(rest)):
            await work(rest)


def count_publishes(folder: Path, inputs: Sequence[payloads.Input]) -> None:
    """To nobody, then to one handler within the call."""
    seen = 0

    def handler(event: Event) -> None:
        nonlocal seen
        seen += event.event_type is EventType.TRADE_EXECUTED

    asyncio.run(count_publish(folder / "unheard", "publish, no handler", inputs, None))
    asyncio.run(count_publish(folder / "heard", "publish, one inline handler", inputs, handler))
    if seen != len(inputs):
        raise RuntimeError(f"the handler got {seen:,} of {len(inputs):,} events")


def count_reads(folder: Path, inputs: Sequence[payloads.Input]) -> None:
    """A whole log, read once before."""
    with aresbus.open(folder / "read", durability="none") as log:
        hot_path.appending(log)(inputs)
        for name, touch in (
            ("read, untouched", None),
            ("read, data touched", hot_path.touch_data),
            ("read, data and metadata touched", hot_path.touch_all),
        ):
            replay = hot_path.replaying(log, touch)
            replay(inputs)
            with count(name, len(inputs)):
                replay(inputs)


def main() -> None:
    """Run all, say what was counted."""
    if _core.DEBUG_BUILD:
        sys.exit("this is a debug build; `make build` makes one that is worth counting")
    inputs = payloads.cold_inputs(WARM_UPS + EVENTS)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="instructions-") as name:
        folder = Path(name)
        count_loop("control", plainly, inputs, WARM_UPS)
        count_appends(folder, inputs)
        count_publishes(folder, inputs)
        count_reads(folder, inputs)
    print(json.dumps(counted))


if __name__ == "__main__":
    main()
