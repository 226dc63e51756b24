"""Three processes and one log: a writer, and two readers that remember by name how far they came.

One reader is killed in mid-feed, without a warning, and started again: it goes on from its checkpoint. What it had taken
since then it gets once more (at least once), and nothing is lost. Run it with ``aresbus example processes``, or
``python processes.py [LOG-FOLDER]``; the other forms of its arguments are for the processes that it starts.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path

import aresbus
from aresbus import EnhancedEventBus, Event, EventType

TICK = EventType.MARKET_DATA_RECEIVED
TICKS = 600
KILLED_AFTER = 200


async def write(folder: str) -> None:
    """The writer: it alone may append to the log, and whoever reads does not disturb it."""
    async with EnhancedEventBus({"event_bus": {"storage_path": folder}}, strict=True) as bus:
        print("ready", flush=True)
        for n in range(TICKS):
            tick = {"symbol": "BTCUSDT", "price": 60_000.0 + n, "volume": 1.0}
            await bus.publish(TICK, tick, "feed")
            await asyncio.sleep(0.001)  # a real feed is awaited here


async def read(folder: str, name: str, last_seq: int) -> None:
    """A reader: it says each event that it has handled, and ends with that of ``last_seq``."""
    is_done = asyncio.Event()

    async def on_tick(event: Event) -> None:
        await asyncio.sleep(0.001)  # what a real handler waits for
        print(event.seq, flush=True)
        if event.seq == last_seq:
            is_done.set()

    settings = {"storage_path": folder, "processing_interval": 0.05}  # seconds between two checkpoints
    async with EnhancedEventBus({"event_bus": settings}, mode="r", strict=True) as bus:
        bus.subscribe(TICK, on_tick, name=name, after="start")
        await is_done.wait()


async def start(*arguments: object) -> Process:
    """This script once more, as a process of its own."""
    return await asyncio.create_subprocess_exec(sys.executable, __file__, *map(str, arguments), stdout=PIPE)


@dataclass
class Reader:
    """One name, whatever process bears it, and the positions of what it handled, in order."""

    folder: str
    name: str
    last_seq: int
    handled: list[int] = field(default_factory=list)

    async def live(self, *, killed_after: int | None = None) -> int:
        """One process, from its start to its end; gives its number."""
        process = await start(self.folder, "read", self.name, self.last_seq)
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        handled_before = len(self.handled)
        async for line in process.stdout:
            self.handled.append(int(line))
            if killed_after is not None and len(self.handled) - handled_before == killed_after:
                process.kill()
        code = await process.wait()
        if killed_after is None and code != 0:
            raise ChildProcessError(f"{self.name} ended with exit code {code}")
        return process.pid

    def report(self, expected: range) -> str:
        """What it got."""
        here = [seq for seq in self.handled if seq in expected]
        lost = len(expected) - len(set(here))
        return f"{self.name}: {len(set(here))} of {len(expected)} events, {len(here) - len(set(here))} twice, {lost} lost"


async def die_and_go_on(reader: Reader) -> None:
    """Two lives of one reader."""
    first = await reader.live(killed_after=KILLED_AFTER)
    print(f"{reader.name}: process {first} killed after it had handled {len(reader.handled)}")
    second = await reader.live()
    print(f"{reader.name}: process {second} went on")


def next_seq(folder: str) -> int:
    """Where the writer will begin: 0, or behind what an earlier run left."""
    if not Path(folder).exists():
        return 0
    with aresbus.open(folder, mode="r") as log:
        return 0 if log.last_seq is None else log.last_seq + 1


async def supervise(folder: str, first_seq: int) -> None:
    """Start them all, kill one, and count."""
    expected = range(first_seq, first_seq + TICKS)
    writer = await start(folder, "write")
    assert writer.stdout is not None  # noqa: S101 - a pipe was asked for
    await writer.stdout.readline()  # the log is there
    print(f"writer: process {writer.pid} appends {TICKS} events from seq {first_seq} on")
    desk, risk = (Reader(folder, name, expected[-1]) for name in ("desk", "risk"))
    await asyncio.gather(desk.live(), die_and_go_on(risk), writer.wait())
    for reader in (desk, risk):
        print(reader.report(expected))


def main(folder: str, role: str = "supervise", *more: str) -> None:
    """Be the process that the arguments name."""
    if role == "write":
        asyncio.run(write(folder))
    elif role == "read":
        asyncio.run(read(folder, more[0], int(more[1])))
    else:
        asyncio.run(supervise(folder, next_seq(folder)))


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["processes_log"]))
