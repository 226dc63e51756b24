"""Processes whose appending thread is watched. Run as ``python hot_thread_children.py ACT PATH DURABILITY``.

Owns what an appending thread may do once it is warm. ``calls``: after the warm-up a filter of the kernel ends the process on any
system call of this thread but the exit, while the log rolls; ``faults``: prints how often the thread faulted a page in, within one
segment: while the keeper syncs one that was left it populates nothing. A disk under it takes its time (faults.py): how many pages
a sync could cost depends on that.
"""

import ctypes
import gc
import os
import resource
import sys
import time

import planted_core  # noqa: F401 - before aresbus

# isort: split
import aresbus
from faults import FOR_GOOD, Faults

EVENTS = 100_000
WARM_UP = {"calls": 60_000, "faults": 180_000}
SEGMENT_BYTES = {"calls": 16 * 1024 * 1024, "faults": 32 * 1024 * 1024}
"""Less than the events take, which roll at least once; more than they take behind a warm-up that fills all smaller ones."""
SYNC_MS = 5
"""In which a bot of this rate takes some 30 pages."""
TRADE = {"symbol": "BTCUSDT", "price": 61251.01, "quantity": 0.00214, "trade": 3733812345, "is_maker": True}
CORRELATION_ID = "0190f3c9-0000-7abc-8def-0123456789ab"
AGGREGATES = [f"order-{number}" for number in range(1_000)]

EXIT_GROUP = {"x86_64": 231, "aarch64": 94}
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
"""linux/seccomp.h and linux/bpf_common.h."""


class Instruction(ctypes.Structure):
    """``struct sock_filter``."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jump_true", ctypes.c_ubyte),
        ("jump_false", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction)))


def forbid_system_calls():
    """From now on this thread may exit, and nothing else."""
    instructions = (Instruction * 4)(
        Instruction(LOAD_WORD, 0, 0, 0),
        Instruction(JUMP_IF_EQUAL, 0, 1, EXIT_GROUP[os.uname().machine]),
        Instruction(RETURN, 0, 0, ALLOW),
        Instruction(RETURN, 0, 0, KILL_PROCESS),
    )
    program = Program(len(instructions), instructions)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0


PAUSE = 0.001
"""Seconds behind every 100 events: at most 100,000 a second, so that the keeper has its turns on a busy machine."""


def append(log, count, pause=0.0):
    """Append as a bot does; with a ``pause`` behind every 100 events."""
    append = log.append
    for number in range(count):
        if pause and number % 100 == 0:
            time.sleep(pause)
        append(
            "trade_executed",
            TRADE,
            source="strategy",
            correlation_id=CORRELATION_ID,
            aggregate_id=AGGREGATES[number % 1_000],
        )


def faults_of_this_thread():
    """Of both kinds: a page that is not in the cache either counts as a major one, though there is nothing to read."""
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_minflt + used.ru_majflt


def main():
    """Do as the command line says."""
    act, path, durability = sys.argv[1:]
    log = aresbus.open(path, durability=durability, segment_bytes=SEGMENT_BYTES[act])
    append(log, WARM_UP[act])
    syncs = None
    while syncs != (syncs := log.stats()["sync_count"]):
        time.sleep(0.5)  # until the keeper has synced the segments that were left
    gc.collect()
    gc.freeze()
    if act == "calls":
        forbid_system_calls()
        append(log, EVENTS)
        os._exit(0)
    Faults().delay("fdatasync", f"{path}/segments/", SYNC_MS, count=FOR_GOOD)
    append(log, 10_000, PAUSE)  # the keeper has got used to this rate
    before, faults = log.stats(), faults_of_this_thread()
    append(log, EVENTS, PAUSE)
    faults = faults_of_this_thread() - faults
    after = log.stats()
    print(faults, *(after[name] - before[name] for name in ("sync_count", "roll_count")))


if __name__ == "__main__":
    main()
