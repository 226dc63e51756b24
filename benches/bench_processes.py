"""How soon a reader in another process has an event that it has to be woken for.

An event that is appended after 50 ms of quiet, to a reader that has gone to sleep: the native reader's, and the handler's
of a bus opened with mode="r", which waits in a thread as the native reader does and is then woken through its loop; and of an event
every millisecond, when nothing sleeps for long. Readers that spin are P8's (figures/processes.py).
The clock is the machine's monotonic one, which both processes read. Prints a table; nothing is written.
"""

import argparse
import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aresbus
import measure
from aresbus import EnhancedEventBus
from figures import round_trips

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench-processes"
PERCENTILES = (0.5, 0.99, 0.999)
QUIET_SECONDS = 0.05
PACE_SECONDS = 0.001
READY = "ready"


@contextmanager
def partner(*arguments: str) -> Iterator[Iterator[str]]:
    """Another process of this file, over when the block is; what it prints."""
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield (line.strip() for line in process.stdout or ())
        except BaseException:
            process.kill()
            raise


def listen(count: int) -> None:
    """Native reader: prints how long each event took."""
    events = round_trips.opened(FOLDER / "log").follow()
    print(READY, flush=True)
    _print([-int(next(events).data) + time.perf_counter_ns() for _ in range(count)])


def listen_on_a_bus(count: int) -> None:
    """The same as a handler of a bus that reads."""
    delays: list[int] = []

    async def main() -> None:
        round_trips.opened(FOLDER / "log").close()
        bus = EnhancedEventBus({"event_bus": {"storage_path": str(FOLDER / "log")}}, mode="r")
        done = asyncio.Event()

        def take(event: aresbus.Event) -> None:
            delays.append(-int(event.data) + time.perf_counter_ns())
            if len(delays) == count:
                done.set()

        aresbus.register_event_type("tick")
        bus.subscribe("tick", take)
        running = asyncio.create_task(bus.run())
        await asyncio.sleep(0.2)
        print(READY, flush=True)
        await done.wait()
        await bus.stop()
        await running

    asyncio.run(main())
    _print(delays)


def _print(delays: list[int]) -> None:
    for delay in delays:
        print(delay)


def delays(role: str, pause_seconds: float, count: int) -> list[int]:
    """What a listener in another process measures of events appended after a pause each."""
    shutil.rmtree(FOLDER / "log", ignore_errors=True)
    with aresbus.open(FOLDER / "log") as log, partner(f"--{role}", str(count)) as lines:
        while next(lines) != READY:
            pass
        for _ in range(count):
            time.sleep(pause_seconds)
            log.append("tick", time.perf_counter_ns())
        return [int(line) for line in lines]


def row(pace: str, name: str, times: list[int]) -> str:
    """One line of the table, in microseconds."""
    shown = " | ".join(f"{measure.percentile(times, fraction) / 1000:,.2f}" for fraction in PERCENTILES)
    return f"| {pace} | {name} | {len(times):,} | {shown} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sleeps", type=int, default=100, help="events after a quiet time, to each reader")
    for role in ROLES:
        parser.add_argument(f"--{role}", type=int, help=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    for role, (_, listener) in ROLES.items():
        if given[role] is not None:
            listener(given[role])
            return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    print(f"on {measure.file_system(FOLDER)}; microseconds\n")
    print(measure.head(["an event", "to", "events", *(f"p{100 * fraction:g}" for fraction in PERCENTILES)]))
    for pace, seconds, times in (("after 50 ms of quiet", QUIET_SECONDS, 1), ("each ms", PACE_SECONDS, 10)):
        for role, (name, _) in ROLES.items():
            print(row(pace, name, delays(role, seconds, given["sleeps"] * times)))
    shutil.rmtree(FOLDER)


ROLES: dict[str, tuple[str, Callable[[int], None]]] = {
    "listen": ("native reader", listen),
    "bus": ('bus, mode="r"', listen_on_a_bus),
}

if __name__ == "__main__":
    main()
