"""The demo's recorder: a process of its own, so that it can be killed. Run as ``python -m aresbus.cli.recorder``.

Owns the live side of the demo: a bus with two subscribers, one publish per message, the seq of each stored event
written to a pipe (the acknowledgement), and a report on stdout when the feed has ended. Invariants: a seq is acknowledged
only after its publish returned; a recorder goes on behind the last event the log holds, whoever wrote it.
"""

import asyncio
import logging
import math
import os
import struct
import sys
import time
from collections.abc import Callable
from heapq import merge
from typing import Any

from aresbus._core import Event
from aresbus.bus import EnhancedEventBus
from aresbus.cli.failure import error_line
from aresbus.cli.indicators import Indicators
from aresbus.cli.lines import Message, parse_line, read_feed
from aresbus.cli.terminal import json_text
from aresbus.errors import AresbusError
from aresbus.events import register_event_type
from aresbus.market_day import CAPTURES, Capture
from aresbus.places import end_of

__all__ = [
    "ACKNOWLEDGEMENT",
    "SNAPSHOT_FREQUENCY",
    "bus_config",
    "market_messages",
    "percentile",
    "quiet",
    "register_types",
]

ACKNOWLEDGEMENT = struct.Struct("<Q")
"""One seq on the pipe."""
SNAPSHOT_FREQUENCY = 1_000
"""Events between two snapshots. The default, 100, is for feeds that do not come at full speed: each one is synced."""


def market_messages() -> list[tuple[str, Message]]:
    """Source and message of both markets of the package's slice, in the order they were received."""

    def messages(capture: Capture) -> list[tuple[str, Message]]:
        with capture.path.open("rb") as file:
            return [(capture.source, parse_line(line, capture.source)) for line in read_feed(file)]

    return list(merge(*map(messages, CAPTURES), key=lambda pair: pair[1].time_ns))


def register_types(messages: list[tuple[str, Message]]) -> None:
    """Make the types of a feed known to the bus, which refuses unknown ones."""
    for name in {message.event_type for _, message in messages}:
        register_event_type(name)


def bus_config(log: str) -> dict[str, Any]:
    """The demo's configuration; what it does not name is as by default."""
    return {"event_bus": {"storage_path": log, "snapshot_frequency": SNAPSHOT_FREQUENCY}}


def quiet() -> None:
    """Keep warnings out of the demo's story: the bus's one is that of keys without effect yet, and in the README."""
    logging.basicConfig(level=logging.ERROR)


def percentile(ordered: list[int], share: float) -> int:
    """The smallest value that ``share`` of all do not exceed (nearest rank, nothing interpolated)."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


class Stopwatch:
    """Publish-to-handler times: from just before the call of publish to the first line of the handler."""

    def __init__(self, first_seq: int) -> None:
        self._first_seq = first_seq
        self._began: list[int] = []
        self.taken: list[int] = []
        self.last_ns: int = time.perf_counter_ns()
        """When the last event was published or handled."""

    def start(self) -> None:
        """The next event is about to be published."""
        self.last_ns = time.perf_counter_ns()
        self._began.append(self.last_ns)

    def stopping(self, handler: Callable[[Event], None]) -> Callable[[Event], None]:
        """``handler``, with the time taken before it begins."""

        def handle(event: Event) -> None:
            now = time.perf_counter_ns()
            if event.seq is not None:
                self.taken.append(now - self._began[event.seq - self._first_seq])
            handler(event)
            self.last_ns = time.perf_counter_ns()

        return handle

    def report(self) -> dict[str, int]:
        """Percentiles in ns."""
        ordered = sorted(self.taken)
        if not ordered:
            return {"samples": 0}
        shares = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999, "max": 1.0}
        return {"samples": len(ordered)} | {
            name: percentile(ordered, share) for name, share in shares.items()
        }


async def record(log: str, acknowledge: Callable[[int], object]) -> dict[str, Any]:
    """Publish what the log does not hold yet of the slice; returns the report."""
    messages = market_messages()
    register_types(messages)
    indicators = Indicators()
    async with EnhancedEventBus(bus_config(log), strict=True) as bus:
        # What an earlier recorder stored is taken in first: the log is the memory that survives a crash.
        for event in await bus.replay_events():
            indicators.take(event)
        first = end_of(bus.log)
        stopwatch = Stopwatch(first)
        bus.subscribe("trade", stopwatch.stopping(indicators.on_trade))
        bus.subscribe("bookTicker", stopwatch.stopping(indicators.on_book))
        began = time.perf_counter_ns()
        for seq, (source, message) in enumerate(messages[first:], first):
            stopwatch.start()
            await bus.publish(
                message.event_type,
                message.data,
                source,
                aggregate_id=message.aggregate_id,
                event_time_ns=message.time_ns,
            )
            acknowledge(seq)
            # A real feed is awaited between two messages; that is when handlers run.
            await asyncio.sleep(0)
    # Leaving the bus has delivered the rest.
    return {
        "first_seq": first,
        "events": len(messages) - first,
        "took_ns": stopwatch.last_ns - began,
        "latency_ns": stopwatch.report(),
        "state": indicators.state(),
    }


def main() -> int:
    """``LOG PIPE``: the log's folder and the descriptor that takes acknowledgements."""
    log, pipe = sys.argv[1], int(sys.argv[2])
    quiet()
    try:
        report = asyncio.run(record(log, lambda seq: os.write(pipe, ACKNOWLEDGEMENT.pack(seq))))
    except KeyboardInterrupt:
        return 130
    except (AresbusError, OSError) as error:
        print(error_line(error), file=sys.stderr)
        return 2
    print(json_text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
