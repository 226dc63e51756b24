"""What is measured: storing, delivering and replaying an event, and the floor of each.

Owns the floors, which are what the same work costs without a log, and the loops over both. Measures nothing itself. The
publishing bus checks no schema and takes no snapshots, since its floor has none; all else is default.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from aresbus._core import Event
from aresbus.benchmark import payloads
from aresbus.benchmark.timing import Loop, timed
from aresbus.bus import EnhancedEventBus
from aresbus.events import EventType
from aresbus.log import Log

__all__ = [
    "appending",
    "appending_many",
    "dumps_each",
    "loads_each",
    "opened_bus",
    "publish_and_deliver",
    "publishing",
    "publishing_plainly",
    "replaying",
    "syncing",
    "touch_all",
    "touch_data",
]

PUBLISHES_PER_PASS = 500  # below max_history, so that the handler gets the very object that was published
EVENTS_PER_BATCH = 1_000
RECORD_BYTES = 256
"""About what one trade takes in a log."""
SCRATCH_BYTES = 64 << 20


class PlainEvent:
    """What a bus in plain Python builds for each event."""

    __slots__ = ("aggregate_id", "correlation_id", "data", "event_id", "event_type", "source", "ts_ns")

    def __init__(
        self, event_type: str, data: Any, source: str, correlation_id: str, aggregate_id: str
    ) -> None:
        """Takes its id from a counter, its time from the clock."""
        self.event_type: str = event_type
        self.data: Any = data
        self.source: str = source
        self.correlation_id: str = correlation_id
        self.aggregate_id: str = aggregate_id
        self.event_id: int = next(PLAIN_IDS)
        self.ts_ns: int = time.time_ns()


PLAIN_IDS = itertools.count()


class PlainBus:
    """The floor of publishing: a dict of handlers, called at once. Stores nothing, survives nothing."""

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


@timed
def dumps_each(inputs: Sequence[payloads.Input]) -> None:
    """The floor of appending."""
    dumps = orjson.dumps
    for data, _, _ in inputs:
        dumps(data)


@timed
def loads_each(inputs: Sequence[bytes]) -> None:
    """The floor of replaying."""
    loads = orjson.loads
    for raw in inputs:
        loads(raw)


def appending(log: Log) -> Loop:
    """One event each, with full metadata."""

    def work(inputs: Sequence[payloads.Input]) -> None:
        append, event_type, source = log.append, payloads.EVENT_TYPE, payloads.SOURCE
        for data, aggregate_id, correlation_id in inputs:
            append(event_type, data, source=source, correlation_id=correlation_id, aggregate_id=aggregate_id)

    return timed(work)


def appending_many(log: Log) -> Loop:
    """The same events, a thousand a call. The list of events is the caller's and is there before the clock runs."""

    def loop(inputs: Sequence[payloads.Input]) -> int:
        events = [
            {
                "event_type": payloads.EVENT_TYPE,
                "data": data,
                "aggregate_id": aggregate_id,
                "correlation_id": correlation_id,
            }
            for data, aggregate_id, correlation_id in inputs
        ]
        batches = [events[at : at + EVENTS_PER_BATCH] for at in range(0, len(events), EVENTS_PER_BATCH)]

        def work(inputs: Sequence[payloads.Input]) -> None:
            for batch in batches:
                log.append_many(batch, source=payloads.SOURCE)
            for _ in inputs:  # compare() takes an empty loop off, and a batch has none
                pass

        return timed(work)(inputs)

    return loop


@contextmanager
def syncing(path: Path) -> Iterator[Loop]:
    """The floor of a durable append: a record's bytes, where the file has room that was never written, and an fdatasync."""
    file, at = os.open(path, os.O_RDWR | os.O_CREAT), SCRATCH_BYTES

    @timed
    def work(inputs: Sequence[Any]) -> None:
        nonlocal at
        record = b"x" * RECORD_BYTES
        for _ in inputs:
            os.pwrite(file, record, at)
            os.fdatasync(file)
            at += RECORD_BYTES

    def loop(inputs: Sequence[Any]) -> int:
        nonlocal at
        if at + len(inputs) * RECORD_BYTES > SCRATCH_BYTES:
            os.ftruncate(file, at := 0)
            os.posix_fallocate(file, 0, SCRATCH_BYTES)
            os.fsync(file)
        return work(inputs)

    try:
        yield loop
    finally:
        os.close(file)


def publishing_plainly() -> Loop:
    """The floor of publishing."""
    bus, seen = PlainBus(), 0

    def handler(event: PlainEvent) -> None:
        nonlocal seen
        seen += event.event_type == payloads.EVENT_TYPE

    bus.handlers[payloads.EVENT_TYPE] = [handler]

    def work(inputs: Sequence[payloads.Input]) -> None:
        publish, event_type, source = bus.publish, payloads.EVENT_TYPE, payloads.SOURCE
        for data, aggregate_id, correlation_id in inputs:
            publish(event_type, data, source, correlation_id, aggregate_id)

    return timed(work)


async def publish_and_deliver(bus: EnhancedEventBus, inputs: Sequence[payloads.Input]) -> None:
    """Publish all of them, and deliver after every few hundred."""
    publish, event_type, source = bus.publish, EventType.TRADE_EXECUTED, payloads.SOURCE
    for start in range(0, len(inputs), PUBLISHES_PER_PASS):
        for data, aggregate_id, correlation_id in inputs[start : start + PUBLISHES_PER_PASS]:
            await publish(event_type, data, source, correlation_id, aggregate_id)
        while not bus.event_queue.empty():
            await bus.process_pending()


def publishing(loop: asyncio.AbstractEventLoop, bus: EnhancedEventBus) -> Loop:
    """Publish and one handler that gets the very object; delivered after every 500."""
    seen = 0

    def handler(event: Event) -> None:
        nonlocal seen
        seen += event.event_type is EventType.TRADE_EXECUTED

    bus.subscribe(EventType.TRADE_EXECUTED, handler)

    async def publish_all(inputs: Sequence[payloads.Input]) -> None:
        expected = seen + len(inputs)
        await publish_and_deliver(bus, inputs)
        if seen != expected:
            raise RuntimeError(f"the handler got {seen:,} of {expected:,} events")

    return timed(lambda inputs: loop.run_until_complete(publish_all(inputs)))


def replaying(log: Log, touch: Callable[[Event], object] | None) -> Loop:
    """A whole log, each event handed to ``touch``; None: not even that."""

    def work(inputs: Sequence[bytes]) -> None:
        if touch is None:
            for _ in log.read():
                pass
        else:
            for event in log.read():
                touch(event)
        if log.last_seq != len(inputs) - 1:
            raise RuntimeError(f"the log ends at {log.last_seq}, not with the inputs")

    return timed(work)


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
