"""Processes under which a segment is cut off. Run as ``python truncation_children.py ACT PATH``.

Owns no check. Each says "ready" once it has the segment mapped, waits for a line on stdin, and then says in one line how
what it does next ends.
"""

import asyncio
import faulthandler
import mmap
import os
import signal
import sys
from collections.abc import Callable
from tempfile import TemporaryFile

import aresbus
from aresbus import AresbusError

HALF = 50
"""Less than what a bus reads at once, so that it has to read on."""


def say(text: object) -> None:
    """One line, now."""
    print(text, flush=True)


def outcome(act: Callable[[], object]) -> None:
    """Tell how the body ends, and that this process is alive to tell."""
    say("ready")
    sys.stdin.readline()
    try:
        say(f"fine {act()}")
    except AresbusError as error:
        say(f"{type(error).__name__} {error}")


def read(path: str) -> None:
    """Read on where an iterator stands in the segment."""
    with aresbus.open(path, mode="r") as log:
        events = log.read()
        next(events)
        outcome(lambda: sum(1 for _ in events))


def follow(path: str) -> None:
    """Wait at the end of what is there."""
    with aresbus.open(path, mode="r") as log:
        events = log.follow()
        for _ in range(log.last_seq + 1):
            next(events)
        outcome(lambda: next(events))


def catch_up(path: str) -> None:
    """Ask what a reader has learnt."""
    with aresbus.open(path, mode="r") as log:
        assert log.last_seq
        outcome(lambda: (log.last_seq, log.aggregate_version("a")))


def asked(path: str, question: Callable[[aresbus.Log], object]) -> None:
    """Ask a reader that stands in the middle of the segment."""
    with aresbus.open(path, mode="r") as log:
        events = log.read()
        next(events)
        assert log.last_seq
        outcome(lambda: question(log))


def read_backward(path: str) -> None:
    """From the end, which is gone."""
    asked(path, lambda log: sum(1 for _ in log.read(direction="backward")))


def read_aggregate(path: str) -> None:
    """Along the chain of one aggregate."""
    asked(path, lambda log: sum(1 for _ in log.read(aggregate_id="a")))


def read_the_last(path: str) -> None:
    """One event by its position."""
    asked(path, lambda log: next(log.read(after=log.last_seq - 1)).seq)  # type: ignore[operator]


def head(path: str) -> None:
    """The head over everything."""
    asked(path, lambda log: log.head().tree_size)


def prove(path: str) -> None:
    """The proof of one event."""
    asked(path, lambda log: log.prove(5).seq)


def rebuild(path: str) -> None:
    """A state."""
    asked(path, lambda log: aresbus.rebuild(log, "a", aresbus.Reducers()).version)


def verify(path: str) -> None:
    """It finds it, which is what it is for."""
    asked(path, lambda log: bool(log.verify()["findings"]))


def know(path: str) -> None:
    """What is known without reading: nothing of it may end the process."""
    asked(
        path, lambda log: (log.last_seq, log.aggregate_version("a"), log.durable_seq, log.stats()["last_seq"])
    )


def wait(path: str) -> None:
    """For what never comes."""
    asked(path, lambda log: log.wait(log.last_seq, 0.1))


def run_bus(path: str) -> None:
    """A bus that has delivered half and reads on."""

    async def run() -> int:
        bus = aresbus.EnhancedEventBus({"event_bus": {"storage_path": path}}, mode="r", strict=True)
        seen: list[int | None] = []

        def on_event(event: aresbus.Event) -> None:
            seen.append(event.seq)
            if len(seen) == HALF:
                say("ready")
                sys.stdin.readline()

        bus.subscribe("*", on_event, after="start")
        await bus.initialize()
        try:
            async with asyncio.timeout(20):
                await bus.run()
        finally:
            await bus.stop()
        return len(seen)

    try:
        say(f"fine {asyncio.run(run())}")
    except AresbusError as error:
        say(f"{type(error).__name__} {error}")


def append(path: str) -> None:
    """Append until it is refused, then read, and close."""
    log = aresbus.open(path, audit=False)
    for number in range(100):
        log.append("note", [number, "x" * 1000], aggregate_id="a")
    log.sync()
    acknowledged = []

    def act() -> None:
        while True:
            acknowledged.append(log.append("note", "y" * 1000, durability="group").seq)

    outcome(act)
    say(f"{len(acknowledged)} {log.durable_seq}")
    outcome(log.close)


def fork_and_read(path: str) -> None:
    """The same reader in a child that was forked while the parent had the segment mapped."""
    with aresbus.open(path, mode="r") as log:
        events = log.read()
        next(events)
        pid = os.fork()
        if pid:
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        with aresbus.open(path, mode="r") as mine:
            again = mine.read()
            next(again)
            outcome(lambda: sum(1 for _ in again))
        os._exit(0)


def read_with_faulthandler(path: str) -> None:
    """Faulthandler was there first."""
    faulthandler.enable()
    read(path)


def read_before_faulthandler(path: str) -> None:
    """Faulthandler comes later, and meets the fault first."""
    with aresbus.open(path, mode="r") as log:
        events = log.read()
        next(events)
        faulthandler.enable()
        outcome(lambda: sum(1 for _ in events))


def foreign(path: str) -> None:
    """A mapping that is none of the log's is cut off: no business of ours."""
    with aresbus.open(path, mode="r") as log:
        assert list(log.read())
        with TemporaryFile() as file:
            file.truncate(8192)
            mapped = mmap.mmap(file.fileno(), 8192)
            file.truncate(0)
            outcome(lambda: mapped[5000])


def foreign_with_faulthandler(path: str) -> None:
    """The same, with a handler before ours."""
    faulthandler.enable()
    foreign(path)


def sent(path: str) -> None:
    """Somebody sends the signal."""
    with aresbus.open(path, mode="r") as log:
        assert list(log.read())
        outcome(lambda: os.kill(os.getpid(), signal.SIGBUS))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
