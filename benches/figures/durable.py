"""What waiting for the disk costs.

P13  append under `group` by one caller, durable on return; against a write of 256 bytes where a file has room that was
     never written, and fdatasync: what a disk can do at best.
P14  the same by 16 threads, which share syncs; against one caller. And by 16 tasks that await `publish(…,
     durability="group")` on one loop, which waits for none of them; against one caller of append on the same log.

It matters because an order must be on the disk before it is sent. The value of P14 is how many times the events a second.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial

import aresbus
from aresbus import EnhancedEventBus, EventType
from aresbus.benchmark import hot_path, payloads
from aresbus.benchmark.timing import Case, Loop, timed
from measure import RATE, Figure, Run, compared

CALLERS = 16
FEWER = 100
"""A durable append takes some hundred times as long as one that is not: that much less of them a round."""


def by_threads(log: aresbus.Log) -> Loop:
    """Each of 16 threads its share; the clock runs from when all of them are there."""
    work = hot_path.appending(log)

    def loop(inputs: Sequence[payloads.Input]) -> int:
        ready = threading.Barrier(CALLERS + 1)

        def share(first: int) -> None:
            ready.wait()
            work(inputs[first::CALLERS])

        threads = [threading.Thread(target=share, args=(first,)) for first in range(CALLERS)]
        for thread in threads:
            thread.start()
        ready.wait()
        start = time.perf_counter_ns()
        for thread in threads:
            thread.join()
        return time.perf_counter_ns() - start

    return loop


def by_one(bus: EnhancedEventBus) -> Loop:
    """One caller of the bus's log."""
    append = partial(bus.log.append, durability="group")

    def work(inputs: Sequence[payloads.Input]) -> None:
        for data, aggregate_id, _ in inputs:
            append(payloads.EVENT_TYPE, data, aggregate_id=aggregate_id)

    return timed(work)


def by_tasks(loop: asyncio.AbstractEventLoop, bus: EnhancedEventBus) -> Loop:
    """Each of 16 tasks its share."""

    async def share(inputs: Sequence[payloads.Input]) -> None:
        for data, aggregate_id, _ in inputs:
            await bus.publish(EventType.TRADE_EXECUTED, data, aggregate_id=aggregate_id, durability="group")

    async def shares(inputs: Sequence[payloads.Input]) -> None:
        await asyncio.gather(*(share(inputs[first::CALLERS]) for first in range(CALLERS)))

    return timed(lambda inputs: loop.run_until_complete(shares(inputs)))


def figures(run: Run) -> Iterator[Figure]:
    """P13 and P14."""
    inputs = payloads.cold_inputs(max(CALLERS, run.events // FEWER))
    with (
        aresbus.open(run.folder / "durable", durability="group") as log,
        hot_path.syncing(run.folder / "scratch") as floor,
    ):
        one = hot_path.appending(log)
        case = Case("durable append (group), one caller", "256 B written, fdatasync", floor, one, inputs)
        yield compared("P13", "cold", case, run.rounds, limit=1.25)
        threads = Case("durable append, 16 threads", "one caller", one, by_threads(log), inputs)
        yield compared("P14", "cold", threads, run.rounds, limit=5, measure=RATE)
    with hot_path.opened_bus(run.folder / "durable-bus") as (loop, bus):
        tasks = Case("durable publish, 16 tasks", "one caller", by_one(bus), by_tasks(loop, bus), inputs)
        yield compared("P14", "cold", tasks, run.rounds, limit=5, measure=RATE)
