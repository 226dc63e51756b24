"""What the tests of the bus share: a bus on a folder, a way to run, and handlers that note what they get.

Owns no fixture and asserts nothing.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from aresbus import EnhancedEventBus, Event, HealthLimits

TRADE = {"symbol": "BTCUSDT", "side": "buy", "quantity": 0.5, "price": 61250.5}
PATIENCE_SECONDS = 20.0
ANY_DISK = HealthLimits(disk_low_bytes=0, disk_critical_bytes=0, disk_low_days=0, sync_seconds=60)
"""What is tested is the bus, not whether the disk of this machine has room and syncs fast."""


def make_bus(folder, *, log_options=None, clock=None, mode="rw", **settings) -> EnhancedEventBus:
    """A strict bus on ``folder``; the rest are keys of the configuration."""
    section = {"storage_path": str(folder), **settings}
    return EnhancedEventBus(
        {"event_bus": section},
        mode=mode,
        strict=True,
        clock=clock,
        log_options=log_options,
        health_limits=ANY_DISK,
    )


def run(act, *, debug=False) -> Any:
    """Run a coroutine function's coroutine on a loop of its own; a test that hangs fails."""

    async def limited():
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await act

    return asyncio.run(limited(), debug=debug)


async def until(condition) -> None:
    """Wait until ``condition()`` holds."""
    while not condition():  # noqa: ASYNC110 - what a test waits for has no event
        await asyncio.sleep(0.001)


async def turning(bus) -> None:
    """Until the loop of the bus has begun to deliver: before that nothing is inline."""
    await until(lambda: bus._delivery.frontier.thread is not None)


async def publish(bus, *numbers, **keywords) -> None:
    """Publish each number as the data of an alert."""
    for n in numbers:
        await bus.publish("risk_alert", n, **keywords)


def copy_beside_its_writer(folder: Path, copy: Path) -> None:
    """A copy of logs that are being written, as a crash would leave them.

    A segment is there before META names it: the copy gets each META as it was before the rest was copied.
    """
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("META")}
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.tmp", copy.name))
    for path, meta in before.items():
        (copy / path).write_bytes(meta)


def keep_only_subscriptions(folder: Path, older: Path) -> None:
    """The log as it was at ``older``, with the memory of today: what power loss, or a restored copy, leaves."""
    for entry in folder.iterdir():
        if entry.name != "subscriptions":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for entry in older.iterdir():
        if entry.name != "subscriptions":
            target = folder / entry.name
            shutil.copytree(entry, target) if entry.is_dir() else shutil.copy(entry, target)


class Seen(list[Any]):
    """A sync handler that keeps the data of what it gets, and the events in ``events``."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.append(event.data)
