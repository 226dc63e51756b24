"""What publishing and delivering an event costs.

P5   publish and one handler that gets the event, persisted; against a bus in plain Python that builds its event and
     calls its handler, and stores nothing. It matters because this is what a bot pays for every event. Inline: the handler
     runs inside the publish, on the loop of a running bus, which is not awaited, as the plain one is not; the limit is
     for this. Through passes: by process_pending() after every 500 publishes, each awaited.
P6   what `await bus.publish(...)` costs over the call alone, by turns; against the await of an asyncio.Future that is done.
     A round is the medians of forty short turns, since an append's own ups and downs are as large as the figure. The limit is in
     ns of the machine that the limits come from, where an await takes 12 to 27 and encoding a trade 191: mind the ratio too.

Schema checks and snapshots are off, all else is default.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from aresbus import EnhancedEventBus, Event, EventType
from aresbus.benchmark import hot_path, payloads
from aresbus.benchmark.timing import Case, Loop, timed
from measure import ADDED, Figure, Run, compared

PUBLISHES_PER_TURN = 500
"""Then the loop has a turn, as in any program."""
AWAIT_TURNS, PART = 40, 200
"""Of a round's events a short turn has so many times less."""


def publishing_inline(loop: asyncio.AbstractEventLoop, bus: EnhancedEventBus) -> Loop:
    """Publish, and the handler has the event before that returns."""
    seen = 0

    def handler(event: Event) -> None:
        nonlocal seen
        seen += event.event_type is EventType.TRADE_EXECUTED

    bus.subscribe(EventType.TRADE_EXECUTED, handler, inline=True)

    async def publish_all(inputs: Sequence[payloads.Input]) -> None:
        publish, event_type, source, expected = bus.publish, EventType.TRADE_EXECUTED, payloads.SOURCE, seen
        for start in range(0, len(inputs), PUBLISHES_PER_TURN):
            turn = inputs[start : start + PUBLISHES_PER_TURN]
            for data, aggregate_id, correlation_id in turn:
                publish(event_type, data, source, correlation_id, aggregate_id)
            expected += len(turn)
            if seen != expected:
                raise RuntimeError(f"the handler got {seen:,} of {expected:,} events inside the publish")
            await asyncio.sleep(0)

    return timed(lambda inputs: loop.run_until_complete(publish_all(inputs)))


def inline(folder: Path, name: str, inputs: Sequence[payloads.Input], rounds: int) -> Figure:
    """P5 inside the publish."""
    with hot_path.opened_bus(folder) as (loop, bus):
        running = loop.create_task(bus.run())
        loop.run_until_complete(asyncio.sleep(0))
        subject = publishing_inline(loop, bus)
        case = Case(
            "publish + handler, inline", "plain Python bus", hot_path.publishing_plainly(), subject, inputs
        )
        found = compared("P5", name, case, rounds, limit=1.3)
        loop.run_until_complete(bus.stop())
        loop.run_until_complete(running)
    return found


def through_passes(folder: Path, name: str, inputs: Sequence[payloads.Input], rounds: int) -> Figure:
    """P5 by passes of delivery."""
    with hot_path.opened_bus(folder) as (loop, bus):
        subject = hot_path.publishing(loop, bus)
        floor = hot_path.publishing_plainly()
        case = Case("publish + handler, through passes", "plain Python bus", floor, subject, inputs)
        return compared("P5", name, case, rounds)


def awaiting_done(loop: asyncio.AbstractEventLoop) -> Loop:
    """The floor of an await."""
    done: asyncio.Future[None] = loop.create_future()
    done.set_result(None)

    async def work(inputs: Sequence[payloads.Input]) -> int:
        start = time.perf_counter_ns()
        for _ in inputs:
            await done
        return time.perf_counter_ns() - start

    return lambda inputs: loop.run_until_complete(work(inputs))


def over_the_call(loop: asyncio.AbstractEventLoop, bus: EnhancedEventBus) -> Loop:
    """What publishes take longer that are awaited than those that are not; who goes first is drawn by lot."""
    lot, publish, source, clock = random.Random(22), bus.publish, payloads.SOURCE, time.perf_counter_ns

    async def awaited(inputs: Sequence[payloads.Input]) -> int:
        start = clock()
        for data, aggregate_id, correlation_id in inputs:
            await publish(EventType.TRADE_EXECUTED, data, source, correlation_id, aggregate_id)
        return clock() - start

    async def called(inputs: Sequence[payloads.Input]) -> int:
        start = clock()
        for data, aggregate_id, correlation_id in inputs:
            publish(EventType.TRADE_EXECUTED, data, source, correlation_id, aggregate_id)
        return start - clock()

    async def looped(inputs: Sequence[payloads.Input]) -> int:
        start = clock()
        for _ in inputs:  # compare() takes an empty loop off, and of a difference none is left
            pass
        return clock() - start

    async def difference(inputs: Sequence[payloads.Input]) -> int:
        ways = lot.sample((awaited, called, looped), 3)
        return sum([await way(inputs) for way in ways])

    return lambda inputs: loop.run_until_complete(difference(inputs))


def awaits(folder: Path, name: str, inputs: Sequence[payloads.Input], rounds: int) -> Iterator[Figure]:
    """P6 in nanoseconds, which has the limit, and in awaits of a finished future."""
    with hot_path.opened_bus(folder) as (loop, bus):
        case = Case(
            "await of a publish, over the call",
            "await of a done Future",
            awaiting_done(loop),
            over_the_call(loop, bus),
            inputs[::PART],
        )
        found = compared("P6", name, case, rounds, turns=AWAIT_TURNS)
    yield replace(found, limit=80, measure=ADDED)
    yield replace(found, what="the same, as a ratio")


def figures(run: Run) -> Iterator[Figure]:
    """P5 and P6."""
    for name, make in (("warm", payloads.warm_inputs), ("cold", payloads.cold_inputs)):
        inputs = make(run.events)
        yield inline(run.folder / f"inline-{name}", name, inputs, run.rounds)
        yield through_passes(run.folder / f"passes-{name}", name, inputs, run.rounds)
        yield from awaits(run.folder / f"awaits-{name}", name, inputs, run.rounds)
