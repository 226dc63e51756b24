"""Processes that the tests of the bad day start, interrupt and kill. Run as ``python bad_day_children.py ACT ARGUMENT …``.

Owns no check. A child says on stdout, one line at a time and at once, what its parent may rely on.
"""

import asyncio
import os
import sys
import threading
from itertools import count
from typing import Literal

import aresbus
from aresbus import DiskFullError, EnhancedEventBus, StorageError


def say(text: object) -> None:
    """One line, now."""
    print(text, flush=True)


def hold(path: str) -> None:
    """Open a log for writing, append one event, and keep it open until there is a line on stdin."""
    with aresbus.open(path) as log:
        log.append("note", "held")
        say("held")
        sys.stdin.readline()


def fill(path: str, audit: str) -> None:
    """Append until the disk is full, say how many were acknowledged, and wait to be killed."""
    log = aresbus.open(path, audit=audit == "audited", segment_bytes=64 * 1024, sealing="off")
    count = 0
    try:
        while True:
            log.append("note", [count, "x" * 4000])
            count += 1
    except DiskFullError:
        say(count)
        sys.stdin.readline()


def fill_some(path: str) -> None:
    """Append a hundred events through some rolls, and keep the log open until there is a line on stdin."""
    with aresbus.open(path, audit=False, segment_bytes=64 * 1024) as log:
        for number in range(100):
            log.append("note", [number, "x" * 2000], aggregate_id="a")
        say("filled")
        sys.stdin.readline()


def as_user(uid: str, path: str) -> None:
    """Open a log as another user: for writing, then for reading; one line says how each ended."""
    os.setegid(int(uid))
    os.seteuid(int(uid))
    for mode in ("rw", "r"):
        try:
            with aresbus.open(path, mode=mode) as log:
                say(f"read {sum(1 for _ in log.read())}")
        except StorageError as error:
            say(f"{type(error).__name__} {error.code} {error.errno} {error.path}")


def append(path: str) -> None:
    """Append for ever, saying each number once it is stored."""
    with aresbus.open(path) as log:
        say("begun")
        for number in count():
            log.append("note", number)
            say(number)


def append_durably(path: str) -> None:
    """The same, each one on the disk."""
    with aresbus.open(path, durability="group") as log:
        say("begun")
        for number in count():
            log.append("note", number)
            say(number)


def append_many(path: str) -> None:
    """The same, a hundred at once, of which the first is said."""
    with aresbus.open(path) as log:
        say("begun")
        for number in count(0, 100):
            log.append_many([("note", number + one) for one in range(100)])
            say(number)


def append_in_threads(path: str) -> None:
    """Two threads append without a pause beside the main thread, which says what it stored itself."""
    stopping = threading.Event()

    def work(first: int) -> None:
        for number in count(first, 3):
            if stopping.is_set():
                break
            log.append("note", number)

    with aresbus.open(path) as log:
        threads = [threading.Thread(target=work, args=(first,)) for first in (1, 2)]
        for thread in threads:
            thread.start()
        try:
            say("begun")
            for number in count(0, 3):
                log.append("note", number)
                say(number)
        finally:
            stopping.set()
            for thread in threads:
                thread.join()


def follow(path: str, mode: Literal["rw", "r"] = "rw") -> None:
    """Wait at the end of a log for what never comes."""
    with aresbus.open(path, mode=mode) as log:
        events = log.follow()
        for _ in range(5):
            next(events)
        say("waiting")
        next(events)


def follow_as_reader(path: str) -> None:
    """The same in a reader."""
    follow(path, "r")


def wait(path: str) -> None:
    """Wait for an event beyond the last."""
    with aresbus.open(path) as log:
        say("waiting")
        log.wait(log.last_seq)


def wait_durable_never(path: str) -> None:
    """Wait until an event is durable that nobody appends."""
    with aresbus.open(path) as log:
        say("waiting")
        log.wait_durable(1_000_000)


async def _publish(bus: EnhancedEventBus) -> None:
    for number in count():
        await bus.publish("risk_alert", number)
        say(number)


def enter_bus(path: str) -> None:
    """Publish for ever on a bus that was entered."""

    async def act() -> None:
        async with EnhancedEventBus({"event_bus": {"storage_path": path}}) as bus:
            bus.subscribe("risk_alert", lambda event: None)
            await _publish(bus)

    asyncio.run(act())


def run_bus(path: str) -> None:
    """Publish for ever beside run(), and drop the bus without stop when interrupted."""

    async def act() -> None:
        bus = EnhancedEventBus({"event_bus": {"storage_path": path}})
        bus.subscribe("risk_alert", lambda event: None)
        await asyncio.gather(bus.run(), _publish(bus))

    asyncio.run(act())


def open_r(path: str) -> None:
    """Open a log for reading."""
    aresbus.open(path, mode="r").close()


def open_rw(path: str) -> None:
    """Open a log for writing."""
    aresbus.open(path).close()


def verify(path: str) -> None:
    """Verify a log."""
    aresbus.verify(path)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
