"""Processes that end in the middle of their work. Run as ``python exit_children.py ACT PATH``.

Owns no check. Each says on stdout, a line each and at once, the position of every event that was acknowledged to it; none
closes its log.
"""

import asyncio
import os
import signal
import sys
import threading
from itertools import count
from typing import NoReturn

import aresbus
from aresbus import EnhancedEventBus, LogClosedError

APPENDERS = 3
ENOUGH = 200
"""So many events are acknowledged before the end begins."""

log: aresbus.Log
enough = threading.Event()


def acknowledge(seq: int | None) -> None:
    """One line, whole, whatever other threads write."""
    os.write(1, f"{seq}\n".encode())


def append_for_ever(durability: str) -> None:
    """Until the log is closed under us; that is no surprise."""
    for number in count():
        try:
            receipt = log.append("note", number, durability=durability)  # type: ignore[arg-type]
        except LogClosedError:
            return
        acknowledge(receipt.seq)
        if receipt.seq >= ENOUGH:
            enough.set()


def start_appenders(path: str, *, daemon: bool) -> None:
    """Threads that append in every mode."""
    global log  # noqa: PLW0603 - every thread of this program is about it
    log = aresbus.open(path)
    for durability in ("none", "interval", "group")[:APPENDERS]:
        threading.Thread(target=append_for_ever, args=(durability,), daemon=daemon).start()
    enough.wait()


def return_beside_daemons(path: str) -> None:
    """The main thread returns."""
    start_appenders(path, daemon=True)


def exit_beside_daemons(path: str) -> NoReturn:
    """It says with what."""
    start_appenders(path, daemon=True)
    sys.exit(3)


def raise_beside_daemons(path: str) -> NoReturn:
    """It fails."""
    start_appenders(path, daemon=True)
    raise SystemExit("the program's own words")


def leave_at_once_beside_daemons(path: str) -> NoReturn:
    """Nothing is wound up."""
    start_appenders(path, daemon=True)
    os._exit(4)


def wait_for_signal(path: str) -> None:
    """Whatever comes by default, which is to end; under nohup it would have been taught to ignore SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    start_appenders(path, daemon=True)
    while True:
        signal.pause()


def exit_on_signal(path: str) -> None:
    """SIGTERM becomes SystemExit, as many programs have it, wherever it falls in the main thread's own appends."""

    def leave(*_: object) -> NoReturn:
        sys.exit(5)

    signal.signal(signal.SIGTERM, leave)
    start_appenders(path, daemon=True)
    append_for_ever("group")


def close_at_exit_of_threads(path: str) -> None:
    """Threads that are no daemons end because somebody closes the log after the main thread has returned."""
    start_appenders(path, daemon=False)
    threading.Timer(0.05, log.close).start()


async def bus_at_work(path: str, handler: str) -> None:
    """A bus that publishes without a pause, and never stops."""
    bus = EnhancedEventBus({"event_bus": {"storage_path": path}}, strict=True)

    def leave(event: aresbus.Event) -> None:
        if event.data == ENOUGH:
            sys.exit(6)

    bus.subscribe("risk_alert", leave if handler == "exits" else lambda _: None)
    await bus.initialize()
    running = asyncio.create_task(bus.run())
    for number in count():
        await bus.publish("risk_alert", number)
        acknowledge(number)
        await asyncio.sleep(0)
        if handler == "none" and number == ENOUGH:
            break
    running.cancel()


def exit_in_a_handler(path: str) -> None:
    """The handler leaves the program."""
    asyncio.run(bus_at_work(path, "exits"))


def return_with_an_open_bus(path: str) -> None:
    """The loop is closed, the bus is not stopped."""
    asyncio.run(bus_at_work(path, "none"))


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
