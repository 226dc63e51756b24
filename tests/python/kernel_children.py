"""The processes of the kernel's suite: a zygote that forks writers, the writers, and readers that follow the log.

Owns no check. Run as ``python kernel_children.py zygote|follow …``. The zygote has imported everything and holds no open
log (a log does not survive a fork), so that a writer costs a fork and not a start of Python. A writer reports in
messages of one size, each written whole: a kill tears none.
"""

import gc
import json
import os
import random
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager
from itertools import islice

import aresbus
from aresbus import Expected, VersionConflictError
from kernel_plan import END, Operation, character, digest_of_event, digest_of_receipts, operations, source_of

MESSAGE = struct.Struct("<cBHIQ16s")
"""Kind, lane, number of events, number of the operation, seq of the first event, digest of the receipts."""
OPENING, OPENED, DONE, CLOSING, CLOSED = b"o", b"O", b"d", b"c", b"C"
NOTHING = 2**64 - 1
SIGHTING = struct.Struct("<Q16s")


def zygote(control_fd: str) -> None:
    """Fork a writer for each request, one at a time; it is reaped when the supervisor says so, not before."""
    control = socket.socket(fileno=int(control_fd))
    # What is imported at the first use is imported here: a writer's first call is as fast as any.
    with tempfile.TemporaryDirectory() as path, aresbus.open(path) as log:
        log.append("note", None)
        log.append_many([("note", None)])
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
        if not request:
            return
        (voice,) = descriptors
        child = os.fork()
        if child == 0:
            control.close()
            _live(json.loads(request), voice)
        os.close(voice)
        control.send(str(child).encode())
        if not control.recv(1):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        control.send(str(os.waitstatus_to_exitcode(status)).encode())


def _live(order: dict[str, object], voice: int) -> None:
    """A child's life; it never gets back into the zygote's loop."""
    try:
        Writer(voice=voice, **order).write_for_ever()
    except BaseException:  # noqa: BLE001 - told to the supervisor, and this process ends here
        traceback.print_exc()
    os._exit(1)


class Writer:
    """A process that carries out its plan until it is killed."""

    def __init__(self, voice: int, path: str, seed: int, child: int) -> None:
        self.voice, self.path, self.seed, self.child = voice, path, seed, child
        self.character = character(seed, child)
        self.log: aresbus.Log

    def say(self, kind, *, lane=0, events=0, number=0, seq=None, digest=b"") -> None:
        place = NOTHING if seq is None else seq
        os.write(self.voice, MESSAGE.pack(kind, lane, events, number, place, digest))

    def open(self) -> None:
        mine = self.character
        self.say(OPENING)
        self.log = aresbus.open(
            self.path,
            durability=mine.durability,
            segment_bytes=mine.segment_bytes,
            audit=mine.is_audited,
        )
        self.say(OPENED, number=self.log.epoch, seq=self.log.last_seq)

    def close(self) -> None:
        self.say(CLOSING)
        self.log.close()
        self.say(CLOSED)

    def write_for_ever(self) -> None:
        self.open()
        others = [
            threading.Thread(target=self.work, args=(lane,), daemon=True)
            for lane in range(1, self.character.lanes)
        ]
        for thread in others:
            thread.start()
        self.work(0)

    def work(self, lane: int) -> None:
        plan = operations(self.seed, self.child, lane, is_closer=self.character.is_closer)
        try:
            for number, operation in enumerate(plan):
                receipts = self.do(operation, lane)
                self.say(
                    DONE,
                    lane=lane,
                    events=len(receipts),
                    number=number,
                    seq=receipts[0].seq if receipts else None,
                    digest=digest_of_receipts(receipts),
                )
        except BaseException:  # noqa: BLE001 - told to the supervisor, for which this end is an answer
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def do(self, operation: Operation, lane: int) -> list[aresbus.Receipt]:
        """Carry out one operation; what it stored."""
        source = source_of(self.child, lane)
        match operation.kind:
            case "reopen":
                self.close()
                self.open()
            case "sync":
                self.log.sync()
            case "batch" | "torn-batch":
                return self.append_batch(operation, source)
            case _:
                return self.append_one(operation, source)
        return []

    def append_one(self, operation: Operation, source: str) -> list[aresbus.Receipt]:
        (draft,) = operation.drafts
        keywords = draft.keywords() | {"source": source, "durability": operation.durability}
        if operation.kind == "bytes":
            return [self.log.append_bytes(draft.event_type, draft.data, **keywords)]
        if operation.kind in {"expected", "conflict"}:
            version = self.log.aggregate_version(draft.aggregate_id)
            keywords["expected_version"] = Expected.NONE if version is None else version
        if operation.kind == "conflict":
            keywords["expected_version"] = (version or 0) + 7
            with refusal():
                self.log.append(draft.event_type, draft.data, **keywords)
            return []
        return [self.log.append(draft.event_type, draft.data, **keywords)]

    def append_batch(self, operation: Operation, source: str) -> list[aresbus.Receipt]:
        events = [
            {"event_type": draft.event_type, "data": draft.data, **draft.keywords()}
            for draft in operation.drafts
        ]
        if operation.kind == "batch":
            return self.log.append_many(events, source=source, durability=operation.durability)
        events.append(
            {"event_type": "x", "data": 0, "aggregate_id": "nobody", "expected_version": Expected.EXISTS}
        )
        with refusal():
            self.log.append_many(events, source=source)
        return []


@contextmanager
def refusal():
    """The body is at odds with a version and stores nothing."""
    try:
        yield
    except VersionConflictError:
        return
    raise AssertionError("an append at the wrong version was taken")


def follow(manner: str, seed: str) -> None:
    """For each path on stdin: report every event of that log on stdout, up to its last one."""
    rng, parent = random.Random(f"{seed}/{manner}"), os.getppid()
    for line in sys.stdin:
        path, seen = line.rstrip("\n"), None
        while seen is None or seen[0] != END:
            if os.getppid() != parent:
                return  # nobody listens any more
            try:
                with aresbus.open(path, mode="r") as log:
                    seen = _follow_a_while(log, seen, rng if manner == "restless" else None)
            except FileNotFoundError:
                assert seen is None, "a log that was there is not there any more"
                time.sleep(0.001)


def _follow_a_while(log, seen, rng):
    """Until the last event of the log, or half a minute of silence; given a generator, for some events or moments."""
    patience = 30 if rng is None else rng.choice([0, 0.001, 0.02])
    most = None if rng is None else rng.choice([1, 10, 1000])
    _check_what_is_known(log, seen)
    for event in islice(log.follow(after=seen and seen[1], timeout=patience), most):
        os.write(1, SIGHTING.pack(event.seq, digest_of_event(event)))
        seen = (event.event_type, event.seq, event.aggregate_id, event.aggregate_version)
        if event.event_type == END:
            break
    return seen


def _check_what_is_known(log, seen) -> None:
    """A handle opened later knows at least what an earlier one gave out."""
    if seen is not None:
        _, seq, aggregate_id, version = seen
        assert log.last_seq >= seq, "events that were seen are gone"
        assert aggregate_id is None or log.aggregate_version(aggregate_id) >= version


if __name__ == "__main__":
    {"zygote": zygote, "follow": follow}[sys.argv[1]](*sys.argv[2:])
