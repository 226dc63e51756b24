"""What doctor and bench ask the machine: file systems, locks, clock, processor.

Owns the questions and how Linux answers them. Judges nothing. Invariants: nothing is changed or taken, not even a lock
for a moment, since a writer that starts just then must get it; what the machine does not tell is None.
"""

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from aresbus.durable_files import read_at_most

__all__ = [
    "ClockState",
    "LockState",
    "Mount",
    "clock_source",
    "clock_state",
    "file_system",
    "lock_state",
    "mount_of",
    "processor",
]

MOUNTS = Path("/proc/self/mountinfo")
CPUS = Path("/proc/cpuinfo")
LOCKS = Path("/proc/locks")
CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
WORD_BYTES = 256
"""What a writer leaves in its lock file."""
TIME_ERROR = 5
"""adjtimex: the clock is not synchronised."""


@dataclass(frozen=True, slots=True)
class Mount:
    """The file system that a path is on."""

    kind: str
    place: str
    options: frozenset[str]


@dataclass(frozen=True, slots=True)
class LockState:
    """Who holds a log's lock: ``pid`` as the kernel tells it, ``word`` what the last holder left, None where free."""

    pid: int | None
    word: str


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the kernel knows of its clock: disciplined by anybody, and its own estimates in seconds."""

    is_synchronised: bool
    estimated_error: float
    maximum_error: float


def mount_of(path: Path) -> Mount | None:
    """The mount that ``path``, which exists, is under."""
    wanted = os.path.realpath(path)
    best: Mount | None = None
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, more = before.split(), after.split()
        # Blanks in names are written as octal escapes.
        place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        inside = place in {"/", wanted} or wanted.startswith(f"{place}/")
        # Of several at one place the last is on top.
        if inside and (best is None or len(place) >= len(best.place)):
            best = Mount(more[0], place, frozenset(fields[5].split(",")))
    return best


def file_system(path: Path) -> str:
    """The kind of file system that ``path``, which exists, is on; "unknown" where the kernel does not tell."""
    mount = mount_of(path)
    return "unknown" if mount is None else mount.kind


def processor() -> str:
    """What the processor calls itself; "unknown" where the kernel does not tell."""
    try:
        lines = CPUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def lock_state(lock: Path) -> LockState | None:
    """Whether somebody holds the lock file; None if it, or the kernel's list, cannot be read."""
    try:
        found = lock.stat()
        word = read_at_most(lock, WORD_BYTES).decode("utf-8", "replace").strip()
        lines = LOCKS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        fields = line.split()
        if "->" not in fields and file in fields:
            return LockState(int(fields[4]), word)
    return LockState(None, word)


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2), up to what is read here; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_byte * 256),
    )


def clock_state() -> ClockState | None:
    """Ask the kernel about its clock, changing nothing; None where it may not be asked."""
    timex = _Timex()
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (AttributeError, OSError):
        return None
    if answer < 0:
        return None
    return ClockState(answer != TIME_ERROR, timex.esterror / 1e6, timex.maxerror / 1e6)


def clock_source() -> str | None:
    """What the kernel reads the time from, like ``tsc``."""
    try:
        return CLOCK_SOURCE.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return None
