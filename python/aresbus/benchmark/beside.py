"""A reader in another process, and how soon it has an event.

Owns the process, and the clock both sides share: CLOCK_MONOTONIC, which on Linux is one for all processes. Run as a module
it is the reader. Invariant: however it is left, the process is gone.
"""

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aresbus
from aresbus.benchmark import payloads
from aresbus.log import Log, open as open_log

__all__ = ["Reader"]

TIME = struct.Struct("<q")
NOW, NEXT = b"n", b"e"
SETTLING_S = 0.002
"""Until the reader surely waits for the event that it was told to take."""


class Reader:
    """A process that reads the log in the folder ``path``, which exists; a context manager."""

    def __init__(self, path: Path) -> None:
        # -P and the path: the child must find this very package, and nothing that lies about in the current folder.
        paths = [str(Path(aresbus.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "aresbus.benchmark.beside", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )

    def __enter__(self) -> Self:
        self._heard()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def answering(self) -> Callable[[Sequence[Any]], int]:
        """The floor: from a byte written into a pipe until the other process has it."""

        def loop(inputs: Sequence[Any]) -> int:
            took = 0
            for _ in inputs:
                start = time.perf_counter_ns()
                self._tell(NOW)
                took += self._heard() - start
            return took

        return loop

    def reading(self, log: Log) -> Callable[[Sequence[payloads.Input]], int]:
        """From the call of append until the other process has the event."""

        def loop(inputs: Sequence[payloads.Input]) -> int:
            took = 0
            for data, aggregate_id, _ in inputs:
                self._tell(NEXT)
                time.sleep(SETTLING_S)
                start = time.perf_counter_ns()
                log.append(payloads.EVENT_TYPE, data, aggregate_id=aggregate_id)
                took += self._heard() - start
            return took

        return loop

    def _tell(self, what: bytes) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(what)

    def _heard(self) -> int:
        answer = b"" if self._process.stdout is None else self._process.stdout.read(TIME.size)
        if len(answer) < TIME.size:
            raise ChildProcessError(f"the reader ended early, with exit code {self._process.wait()}")
        (at,) = TIME.unpack(answer)
        return int(at)


def main(path: str) -> None:
    """Answer each byte on stdin with the time at which it, or the next event, was there."""
    with open_log(path, mode="r") as log:
        events, asked = log.follow(log.last_seq), NOW
        while asked:
            if asked == NEXT:
                next(events)
            os.write(1, TIME.pack(time.perf_counter_ns()))
            asked = os.read(0, 1)


if __name__ == "__main__":
    main(sys.argv[1])
