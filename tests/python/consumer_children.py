"""The processes of the consumers' suite: a zygote that forks a writer or a consumer for each line it is sent.

Owns no check. What a process has done it says in a file, each line one write, so that a kill tears none. The zygote has
imported everything and holds no open log, so a process costs a fork and not a start of Python.
"""

import asyncio
import gc
import os
import random
import signal
import sys
import tempfile
import time
import traceback

import aresbus
from aresbus import EnhancedEventBus
from planted_consumers import BUGS

KEYS = 5
POISON_EVERY = 331
"""Of each key one event in so many is refused by its consumer until it is cured."""


def is_poison(key: str, n: int) -> bool:
    """Whether the consumer refuses event ``n`` of the key."""
    return (n * KEYS + int(key)) % POISON_EVERY == POISON_EVERY - 1


def note(path: str) -> int:
    """A file to say things in."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def write(folder: str, seed: int) -> None:
    """Publish the next numbers of random keys and say which are stored, until killed."""
    rng, said = random.Random(seed), note(f"{folder}/stored")
    with aresbus.open(f"{folder}/log", sync_interval_ms=2) as log:
        following = {}
        for key in map(str, range(KEYS)):
            version = log.aggregate_version(key)
            following[key] = 0 if version is None else version + 1
        while True:
            key = str(rng.randrange(KEYS))
            log.append("risk_alert", following[key], aggregate_id=key)
            os.write(said, f"{key} {following[key]}\n".encode())
            following[key] += 1
            time.sleep(rng.choice((0, 0.0001, 0.001)))


async def consume(folder: str, *, is_cured: bool) -> None:
    """Follow the log under a name and say which events were handled, until killed."""
    said = note(f"{folder}/handled")

    async def on_event(event: aresbus.Event) -> None:
        if is_poison(event.aggregate_id or "", event.data) and not is_cured:
            raise ValueError("poison")
        if event.data % 53 == 0:
            await asyncio.sleep(0.02)  # in hand over a checkpoint or two
        elif event.data % 7 == 0:
            await asyncio.sleep(0)
        os.write(said, f"{event.aggregate_id} {event.data}\n".encode())

    config = {"event_bus": {"storage_path": f"{folder}/log", "processing_interval": 0.01}}
    async with EnhancedEventBus(config, mode="r", strict=True) as bus:
        bus.subscribe(
            "risk_alert", on_event, name="desk", after="start", max_retries=1, back_off=(0.001, 0.001)
        )
        await asyncio.Event().wait()


def live(kind: str, folder: str, seed: int) -> None:
    """A child's life; it never gets back into the zygote's loop."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if kind == "writer":
            write(folder, seed)
        else:
            asyncio.run(consume(folder, is_cured=kind == "cured"))
    except BaseException:  # noqa: BLE001 - the last words of a process that ends here
        os.write(note(f"{folder}/errors"), traceback.format_exc().encode())
    os._exit(1)


def main() -> None:
    """Fork a process for each line ``kind folder seed``; answer with its number. An argument names a bug to plant."""
    for bug in sys.argv[1:]:
        BUGS[bug].plant()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with tempfile.TemporaryDirectory() as path, aresbus.open(path) as log:
        log.append("note", None)
    gc.freeze()
    while line := os.read(0, 4096).decode():
        kind, folder, seed = line.split()
        child = os.fork()
        if child == 0:
            live(kind, folder, int(seed))
        os.write(1, f"{child}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
