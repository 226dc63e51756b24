"""A process that asks everything of a log in which something strange stands. Run as ``python hostile_children.py PATH THING PLACE …``.

Owns no check. For each place it puts the thing there, in a copy of the log, and says each command before it begins and how
it ended, so that its parent knows which one hangs. Its memory is bounded.
"""

import asyncio
import os
import resource
import shutil
import sys
from pathlib import Path

import aresbus
from bad_day_support import aresbus_command
from bus_support import make_bus

MEMORY_BYTES = 2 << 30
SPARSE_BYTES = 1 << 40
COMMANDS = (
    ("verify",),
    ("doctor",),
    ("subscriptions",),
    ("hold list",),
    ("retention plan", "--days", "1"),
    ("rebuild", "o-1"),
)
ALL_COMMANDS = (
    *COMMANDS,
    *(("read",), ("info",), ("parked", "--name", "desk"), ("snapshots list",), ("snapshots check",)),
    *(("audit",), ("head",)),
)


def say(text: object) -> None:
    """One line, now."""
    print(text, flush=True)


def as_fifo(path: Path) -> None:
    """Opening it waits for the other end."""
    os.mkfifo(path)


def as_zeros(path: Path) -> None:
    """Reading it never ends."""
    path.symlink_to("/dev/zero")


def as_sparse(path: Path) -> None:
    """Reading it takes more memory than there is."""
    with path.open("wb") as file:
        file.truncate(SPARSE_BYTES)


def as_empty(path: Path) -> None:
    """Nothing."""
    path.touch()


def put(thing: str, path: Path) -> None:
    """Put it in the place of whatever is there."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    globals()[thing](path)


async def live(path: Path) -> None:
    """A short life of a bus on the log."""
    bus = make_bus(path, event_ttl_days=0)
    bus.subscribe("trade_executed", lambda _: None, name="desk")
    try:
        async with asyncio.timeout(20):
            await bus.initialize()
            await bus.publish("risk_alert", 1)
            await bus.process_pending()
            await bus.rebuild_from_events("o-1")
    finally:
        await bus.stop()


def main(base: str, thing: str, *places: str) -> None:
    """Everything, of each place."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    copy = Path(base).with_name(f"copy-{thing}")
    for place in places:
        shutil.copytree(base, copy)
        put(thing, copy / place)
        for verb, *more in ALL_COMMANDS if os.environ.get("HOSTILE") else COMMANDS:
            say(f"{place}: {verb}")
            done = aresbus_command(verb, copy, *more)
            say(f"{done.returncode} {done.stderr.strip()}")
        say(f"{place}: bus")
        try:
            asyncio.run(live(copy))
        except (aresbus.AresbusError, OSError) as error:
            say(f"2 {error}")
        else:
            say("0")
        shutil.rmtree(copy)


if __name__ == "__main__":
    main(*sys.argv[1:])
