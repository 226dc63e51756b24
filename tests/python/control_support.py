"""What tests of the control page know of it: where it lies, what stands in it, and who sleeps on it.

By docs/format.md and /proc alone; nothing here asks the engine.
"""

import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHILDREN = Path(__file__).with_name("control_children.py")
SHARED = Path("/dev/shm")
PATIENCE_SECONDS = 60
SLEEPERS, BELL = 64, 68
FUTEX = {"x86_64": "202", "aarch64": "98"}[os.uname().machine]


def page_of(folder: str | Path) -> Path:
    """Where the page of a log lies."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    log = Path(folder)
    log_id = (log / "META").read_bytes()[16:32].hex()
    lock = (log / "LOCK").stat()
    return SHARED / f"aresbus-{boot_id}-{log_id}-{lock.st_dev:x}-{lock.st_ino:x}"


def word(page: Path, offset: int) -> int:
    """One of its words."""
    return struct.unpack_from("<I", page.read_bytes(), offset)[0]


def until(is_so: Callable[[], object]) -> None:
    """Wait for it; fail after a long while."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.002)


def is_asleep(pid: int, page: Path) -> bool:
    """Whether a thread of a process sleeps on a word of the page, whatever name the file has by now."""
    with suppress(OSError):
        ranges = [
            tuple(int(end, 16) for end in line.split()[0].split("-"))
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
            if str(page) in line
        ]
        for task in Path(f"/proc/{pid}/task").iterdir():
            number, *arguments = (task / "syscall").read_text().split()
            if number == FUTEX and any(start <= int(arguments[0], 16) < end for start, end in ranges):
                return True
    return False


class Child:
    """A process of control_children.py; its lines, as they come."""

    def __init__(self, *arguments: object, before: tuple[str, ...] = ()) -> None:
        command = [*before, sys.executable, CHILDREN, *map(str, arguments)]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._guard = threading.Timer(PATIENCE_SECONDS * 2, self.process.kill)
        self._guard.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> str:
        """The next line; empty at the end."""
        return self.process.stdout.readline().strip()

    def ready(self) -> "Child":
        assert self.line() == "ready", self.process.stderr.read()
        return self

    def wait(self) -> int:
        """How it ended; what it complained of fails the test."""
        self.process.stdout.close()
        complaint = self.process.stderr.read()
        code = self.process.wait()
        self._guard.cancel()
        self.process.stderr.close()
        assert complaint == ""
        return code

    def end(self) -> None:
        self._guard.cancel()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@contextmanager
def child(*arguments: object, before: tuple[str, ...] = ()) -> Iterator[Child]:
    """One that is gone behind the block."""
    one = Child(*arguments, before=before)
    try:
        yield one
    finally:
        one.end()
