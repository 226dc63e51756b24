"""What being observable costs.

P19  publish and one handler with metrics, correlation tracking and the audit trail on; against the same bus with all three
     off. It matters because what is turned off for speed is missing on the day it is needed.

Twice: a handler that only takes the event, and one that publishes another, which inherits its correlation. Delivery is
by process_pending() after every 500 publishes; schema checks and snapshots are off. Inputs are warm. A round is the medians
of ten short turns, because a ratio so near to one drowns in what else the machine does; and a second bus with all three off
stands beside the first, as the control: what it differs from 1.00 is what this machine cannot tell.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aresbus import EnhancedEventBus, Event, EventType
from aresbus.benchmark import payloads
from aresbus.benchmark.hot_path import publish_and_deliver
from aresbus.benchmark.timing import Case, Loop, timed
from measure import Figure, Run, compared

SWITCHES = ("metrics_enabled", "correlation_tracking", "audit_trail")
TURNS = 10
EVENTS = 500


@contextmanager
def opened_bus(
    loop: asyncio.AbstractEventLoop, folder: Path, *, is_observed: bool
) -> Iterator[EnhancedEventBus]:
    """A bus whose switches are all on, or all off."""
    settings = {"storage_path": str(folder), "schema_validation": False, "enable_snapshots": False}
    settings |= dict.fromkeys(SWITCHES, is_observed)
    bus = EnhancedEventBus({"event_bus": settings | {"max_history": 2_000}}, strict=True)
    loop.run_until_complete(bus.initialize())
    yield bus
    loop.run_until_complete(bus.stop())


def publishing(loop: asyncio.AbstractEventLoop, bus: EnhancedEventBus, *, answers: bool) -> Loop:
    """Publish each input and let the handler have it; with ``answers`` it publishes another event."""
    seen = 0

    def take(event: Event) -> None:
        nonlocal seen
        seen += event.event_type is EventType.TRADE_EXECUTED

    async def answer(event: Event) -> None:
        take(event)
        await bus.publish(EventType.PERFORMANCE_UPDATE, event.data, payloads.SOURCE)

    bus.subscribe(EventType.TRADE_EXECUTED, answer if answers else take)

    async def publish_all(inputs: Sequence[payloads.Input]) -> None:
        expected = seen + len(inputs)
        await publish_and_deliver(bus, inputs)
        assert seen == expected

    return timed(lambda inputs: loop.run_until_complete(publish_all(inputs)))


def figures(run: Run) -> Iterator[Figure]:
    """P19, each with its control."""
    inputs = payloads.warm_inputs(EVENTS)
    for name, answers in (("publish + handler", False), ("publish + handler that publishes", True)):
        with asyncio.Runner() as runner, ExitStack() as stack:
            loop = runner.get_loop()
            floor, control, subject = (
                publishing(loop, stack.enter_context(bus), answers=answers)
                for bus in (
                    opened_bus(loop, run.folder / f"{answers}-floor", is_observed=False),
                    opened_bus(loop, run.folder / f"{answers}-control", is_observed=False),
                    opened_bus(loop, run.folder / f"{answers}-observed", is_observed=True),
                )
            )
            for title, loops in ((f"{name}, all on", subject), (f"{name}, control: all off", control)):
                case = Case(title, "all off", floor, loops, inputs)
                yield compared("P19", "warm", case, run.rounds, turns=TURNS)
