"""Writers and readers that the tests of real disks start. Run as ``python kernel_disk_children.py ACT ARGUMENT …``.

Owns no check. A child says on stdout, one line of JSON at a time and at once, what its parent may rely on.
"""

import json
import os
import sys
import time

import aresbus
from aresbus import DiskFullError, LogPoisonedError

SMALL = {"audit": False, "segment_bytes": 64 * 1024}
BIG = "x" * 4000


def say(**what: object) -> None:
    """One line, now."""
    os.write(1, (json.dumps(what) + "\n").encode())


def wear_out(path: str, durability: str) -> None:
    """Append until the device refuses a sync, and say what was acknowledged and what this handle can still do."""
    log = aresbus.open(path, audit=False, durability=durability, segment_bytes=1024 * 1024)
    first = -1 if log.last_seq is None else log.last_seq
    say(opened=first)
    sys.stdin.readline()
    acknowledged = first
    try:
        while True:
            acknowledged = log.append("note", [acknowledged + 1, BIG]).seq
            time.sleep(0.0002)  # the sync of an interval keeps up, so that some events are durable
    except LogPoisonedError as error:
        stands = error.seq if error.committed else None
    read, durable = [event.data[0] for event in log.read()], log.durable_seq
    try:
        log.close()
    except LogPoisonedError as error:
        say(
            acknowledged=acknowledged,
            stands=stands,
            durable=durable,
            is_read_whole=read == list(range(len(read))) and len(read) > acknowledged,
            closing=error.errno,
            reason=error.reason,
        )


def fill_for_ever(path: str) -> None:
    """Append, saying each number once it is stored; when the disk is full, say so and try on."""
    log = aresbus.open(path, **SMALL)
    number = 0 if log.last_seq is None else log.last_seq + 1
    say(opened=number)
    is_full = False
    while True:
        try:
            log.append("note", [number, BIG], durability="group" if number % 16 == 0 else None)
        except DiskFullError:
            if not is_full:
                say(full=number)
            is_full = True
            time.sleep(0.001)
        else:
            say(stored=number)
            time.sleep(0.002)  # so that a disk that is free for a moment does not fill at once
            is_full = False
            number += 1


def follow(path: str) -> None:
    """Follow a log through everything, saying what was seen."""
    with aresbus.open(path, mode="r") as log:
        for event in log.follow():
            say(seen=event.data[0])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
