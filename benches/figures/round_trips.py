"""Two processes that send 256 bytes each way, through two logs or through shared memory.

Owns both ways, and the loops of either side. Run as a script it is the process that answers. Knows nothing of figures, so that the
other process needs nothing but the package.
"""

import mmap
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aresbus

PAYLOAD = bytes(range(256))
AREA_BYTES = 4096
WARM_UP = 200


class SharedMemory:
    """256 bytes each way through a mapped file, told by a counter before them."""

    def __init__(self, folder: Path, me: int) -> None:
        """Area ``me`` is written, the other one read."""
        path = folder / "shared"
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 2 * AREA_BYTES)
        words = memoryview(self._map).cast("Q")
        self._mine, self._other = me * AREA_BYTES, (1 - me) * AREA_BYTES
        self._words, self._sent, self._received = words, 0, 0

    def send(self) -> None:
        """Store the bytes, then the counter."""
        at = self._mine + 8
        self._map[at : at + len(PAYLOAD)] = PAYLOAD
        self._sent += 1
        self._words[self._mine // 8] = self._sent

    def receive(self) -> bytes:
        """Spin on the counter, then copy the bytes."""
        words, at, expected = self._words, self._other // 8, self._received + 1
        while words[at] != expected:
            pass
        self._received = expected
        start = self._other + 8
        return self._map[start : start + len(PAYLOAD)]


class Logs:
    """An event each way, each through a log of its own."""

    def __init__(self, folder: Path, me: int) -> None:
        """Log ``me`` is written, the other one followed."""
        self._log = aresbus.open(folder / f"log-{me}")
        while not (folder / f"log-{1 - me}" / "META").exists():
            time.sleep(0.01)
        self._events = iter(opened(folder / f"log-{1 - me}").follow())
        self._append = self._log.append_bytes

    def send(self) -> None:
        """Append one event."""
        self._append("tick", PAYLOAD)

    def receive(self) -> bytes | None:
        """The next event, and its bytes."""
        return next(self._events).raw


def opened(path: Path) -> aresbus.Log:
    """For reading, once its writer has made it."""
    while True:
        try:
            return aresbus.open(path, mode="r")
        except aresbus.AresbusError:
            time.sleep(0.01)


Way = SharedMemory | Logs


def ping(way: Way, count: int) -> list[int]:
    """Half round trips in nanoseconds."""
    send, receive, now = way.send, way.receive, time.perf_counter_ns
    times = []
    for _ in range(count):
        start = now()
        send()
        receive()
        times.append((now() - start) // 2)
    return times


def pong(way: Way, count: int) -> None:
    """Answers each."""
    for _ in range(count):
        way.receive()
        way.send()


def ways(folder: Path, me: int) -> list[Way]:
    """Both of them, seen from one of the two processes."""
    return [SharedMemory(folder, me), Logs(folder, me)]


def turns(rounds: int, count: int) -> Iterator[tuple[int, int]]:
    """Which way comes next and how often, by lot in each round: the same in both processes. The first round warms up."""
    lot = random.Random(0)
    for times in (WARM_UP, *[count] * rounds):
        for way in lot.sample((0, 1), 2):
            yield way, times


def main(folder: Path, rounds: int, count: int) -> None:
    """Answer."""
    both = ways(folder, 1)
    for way, times in turns(rounds, count):
        pong(both[way], times)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
