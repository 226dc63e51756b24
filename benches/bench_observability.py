"""What being observable costs: publish and one handler with everything on, as a ratio to everything off.

P19  metrics, correlation tracking and the audit trail on; against the same bus with all three off. It matters
     because what is turned off for speed is missing on the day it is needed.

Twice: a handler that only takes the event, and one that publishes another, which inherits its correlation. Delivery is
by process_pending() after every 500 publishes; schema checks and snapshots are off. Inputs are warm: one trade over and
over. The logs grow through all rounds, under target/, which should be a disk. Many short rounds, because a ratio so
near to one drowns in what else the machine does; and a second bus with all three off beside the first, as the control:
what it differs from 1.00 is what this machine cannot tell. Prints a table.
"""

import argparse
import asyncio
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import measure
import payloads
from aresbus import EnhancedEventBus, Event, EventType, _core

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench-observability"
SWITCHES = ("metrics_enabled", "correlation_tracking", "audit_trail")
PUBLISHES_PER_PASS = 500  # two thousand events a pass at most fit max_history, so handlers get live objects


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


def publishing(loop: asyncio.AbstractEventLoop, bus: EnhancedEventBus, *, answers: bool) -> measure.Loop:
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
        publish, event_type, source = bus.publish, EventType.TRADE_EXECUTED, payloads.SOURCE
        for start in range(0, len(inputs), PUBLISHES_PER_PASS):
            for data, aggregate_id, correlation_id in inputs[start : start + PUBLISHES_PER_PASS]:
                await publish(event_type, data, source, correlation_id, aggregate_id)
            while not bus.event_queue.empty():
                await bus.process_pending()
        assert seen == expected

    return measure.timed(lambda inputs: loop.run_until_complete(publish_all(inputs)))


def run(count: int, rounds: int) -> Iterator[measure.Result]:
    """Both cases."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    inputs = payloads.warm_inputs(count)
    try:
        for name, answers in (("publish + handler", False), ("publish + handler that publishes", True)):
            with asyncio.Runner() as runner, ExitStack() as stack:
                loop = runner.get_loop()
                floor, control, subject = (
                    publishing(loop, stack.enter_context(bus), answers=answers)
                    for bus in (
                        opened_bus(loop, FOLDER / f"{answers}-floor", is_observed=False),
                        opened_bus(loop, FOLDER / f"{answers}-control", is_observed=False),
                        opened_bus(loop, FOLDER / f"{answers}-observed", is_observed=True),
                    )
                )
                for title, loops in ((name, subject), (f"{name}, control: all off", control)):
                    yield measure.measure(
                        measure.Case("P19", title, "all off", "warm", floor, loops, inputs), rounds
                    )
    finally:
        shutil.rmtree(FOLDER)


def main() -> None:
    """Measure and print; see the file's first paragraph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=801, help="rounds that count (default 801)")
    parser.add_argument("--events", type=int, default=500, help="events a round (default 500)")
    arguments = parser.parse_args()
    if _core.DEBUG_BUILD:
        sys.exit("this is a debug build; `make build` makes one that is worth measuring")
    machine = measure.machine(ROOT, ROOT / "target")
    results = list(run(arguments.events, arguments.rounds))
    print(measure.table(results))
    print(f"\nMedians of {arguments.rounds} rounds of {arguments.events:,} events, by turns. {machine}.")


if __name__ == "__main__":
    main()
