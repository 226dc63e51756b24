"""Processes that the tests of the bad day start, interrupt and kill. Run as ``python bad_day_children.py ACT ARGUMENT …``.

Owns no check. A child says on stdout, one line at a time and at once, what its parent may rely on.
"""

import asyncio
import os
import sys

import aresbus
from aresbus import DiskFullError, EnhancedEventBus, StorageError


def say(text: object) -> None:
    """One line, now."""
    print(text, flush=True)


def hold(path: str) -> None:
    """Open a log for writing, append one event, and keep it open until there is a line on stdin."""
    with aresbus.open(path) as log:
        log.append("note", "held")
        say("held")
        sys.stdin.readline()


def fill(path: str, audit: str) -> None:
    """Append until the disk is full, say how many were acknowledged, and wait to be killed."""
    log = aresbus.open(path, audit=audit == "audited", segment_bytes=64 * 1024)
    count = 0
    try:
        while True:
            log.append("note", [count, "x" * 4000])
            count += 1
    except DiskFullError:
        say(count)
        sys.stdin.readline()


def as_user(uid: str, path: str) -> None:
    """Open a log as another user: for writing, then for reading; one line says how each ended."""
    os.setegid(int(uid))
    os.seteuid(int(uid))
    for mode in ("rw", "r"):
        try:
            with aresbus.open(path, mode=mode) as log:
                say(f"read {sum(1 for _ in log.read())}")
        except StorageError as error:
            say(f"{type(error).__name__} {error.code} {error.errno} {error.path}")


def open_r(path: str) -> None:
    """Open a log for reading."""
    aresbus.open(path, mode="r").close()


def open_rw(path: str) -> None:
    """Open a log for writing."""
    aresbus.open(path).close()


def verify(path: str) -> None:
    """Verify a log."""
    aresbus.verify(path)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
