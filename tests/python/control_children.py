"""The processes beside a writer: readers that follow its log and sleep on its control page, and the killer of such.

Owns no check. Run as ``python control_children.py follow|bus|nursery …``. A reader prints the position of each event as soon as
it has it.
"""

import asyncio
import os
import random
import signal
import sys
import time

import aresbus
from aresbus import EnhancedEventBus


def follow(path: str, until: str) -> None:
    """Native reader; ends with the event at ``until``."""
    with aresbus.open(path, mode="r") as log:
        print("ready", flush=True)
        for event in log.follow():
            print(event.seq, flush=True)
            if event.seq == int(until):
                return


def follow_quietly(path: str, until: str) -> None:
    """The same for very many events: prints the first that was out of order, or the last."""
    with aresbus.open(path, mode="r") as log:
        print("ready", flush=True)
        for expected, event in enumerate(log.follow()):
            if event.seq != expected:
                print("gap", expected, event.seq, flush=True)
                return
            if event.seq == int(until):
                break
    print(until, flush=True)


def bus(path: str, until: str) -> None:
    """A bus that reads; its handler ends with the event at ``until``."""

    async def main() -> None:
        aresbus.register_event_type("tick")
        bus = EnhancedEventBus({"event_bus": {"storage_path": path}}, mode="r")
        done = asyncio.Event()

        def take(event: aresbus.Event) -> None:
            print(event.seq, flush=True)
            if event.seq == int(until):
                done.set()

        bus.subscribe("tick", take, after="start")
        running = asyncio.create_task(bus.run())
        print("ready", flush=True)
        await done.wait()
        await bus.stop()
        await running

    asyncio.run(main())


def nursery(path: str, count: str, seed: str) -> None:
    """Readers, one after another, each killed after a moment: at its opening, spinning, napping, or asleep."""
    rng = random.Random(int(seed))
    for _ in range(int(count)):
        child = os.fork()
        if child == 0:
            for _event in aresbus.open(path, mode="r").follow():
                pass
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    print("done", flush=True)


if __name__ == "__main__":
    roles = {"follow": follow, "follow_quietly": follow_quietly, "bus": bus, "nursery": nursery}
    roles[sys.argv[1]](*sys.argv[2:])
