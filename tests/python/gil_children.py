"""Processes that the GIL stress test starts and gives up on when they hang. Run as ``python gil_children.py ACT PATH SECONDS``.

Many threads, one log, segments so small that it rolls all the time, and Python code of every kind that can run in the middle
of an append: finalisers, weak references' callbacks, the collector, handlers. Owns no check of what was stored. A child
that hangs for SECONDS dumps every thread's stack and ends with an error: faulthandler's own thread needs no GIL. The variable
``ARESBUS_CORE`` names an extension module to use in the place of the installed one.
"""

import asyncio
import faulthandler
import gc
import sys
import threading
import time
import weakref
from itertools import count

import planted_core  # noqa: F401 - before aresbus

# isort: split
import aresbus
from aresbus import EnhancedEventBus

THREADS = 6
EVENTS = 800
PADDING = "x" * 1500
"""Some forty events fill a segment."""
SEGMENT_BYTES = 64 * 1024
MODES = ("none", "interval", "group", "always")


class Dying:
    """Appends when it dies, in a cycle so that the collector decides when."""

    def __init__(self, append, number):
        self.append, self.number, self.me = append, number, self

    def __del__(self):
        self.append("finalised", self.number)


class Watched:
    """Something that a weak reference looks at."""


def litter(append, numbers, watching):
    """Leave two things behind whose end appends: one for the collector, one for a callback."""
    number = next(numbers)
    Dying(append, number)
    watched = Watched()
    watched.me = watched
    watching[number] = weakref.ref(watched, lambda _: append("forgotten", number))


def work(append, name, numbers, watching):
    """One thread's appends, each mode in turn; now and then the collector, now and then a batch of garbage."""
    for number in range(EVENTS):
        append("worked", [name, number, PADDING], MODES[number % 40] if number % 40 < len(MODES) else None)
        if number % 5 == 0:
            litter(append, numbers, watching)
        if number % 25 == 0:
            gc.collect()


def run_threads(append):
    """All threads to their end; how many things died."""
    sys.setswitchinterval(1e-5)
    gc.set_threshold(40, 3, 3)
    numbers, watching, said = count(), {}, []

    def noting(event_type, data, durability=None):
        append(event_type, data, durability)
        if event_type != "worked":
            said.append(event_type)

    threads = [
        threading.Thread(target=work, args=(noting, name, numbers, watching)) for name in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    died = next(numbers)
    # Where another thread is collecting, gc.collect() returns at once: the last words are waited for, not taken for said.
    while len(said) < 2 * died:
        gc.collect()
        time.sleep(0.001)
    return died


def log(path):
    """Threads and finalisers on a plain log, in every durability."""
    with aresbus.open(path, audit=False, segment_bytes=SEGMENT_BYTES) as opened:

        def append(event_type, data, durability=None):
            opened.append(event_type, data, durability=durability)

        print(run_threads(append), flush=True)


def bus(path):
    """Threads and finalisers publish on a bus, whose handlers publish too, while it delivers."""
    for event_type in ("worked", "finalised", "forgotten", "handled"):
        aresbus.register_event_type(event_type)

    async def deliver():
        options = {"segment_bytes": SEGMENT_BYTES}
        config = {"event_bus": {"storage_path": path}}
        async with EnhancedEventBus(config, strict=True, log_options=options) as opened:
            opened.subscribe("worked", lambda event: opened.publish("handled", event.data[:2]))

            def append(event_type, data, _durability=None):
                opened.publish(event_type, data)

            died = await asyncio.to_thread(run_threads, append)
        print(died, flush=True)

    asyncio.run(deliver())


if __name__ == "__main__":
    faulthandler.dump_traceback_later(float(sys.argv[3]), exit=True)
    {"log": log, "bus": bus}[sys.argv[1]](sys.argv[2])
