"""The supervising side of the kernel's suite: births and deaths of writers, and what the log must hold after each.

Owns the comparison of a log with the plans of those who wrote it and with what they acknowledged. All of it is
incremental: after a kill only what is new is read, so that the thousandth kill costs what the first one did.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import aresbus
from kernel_children import CLOSED, CLOSING, DONE, MESSAGE, NOTHING, OPENED, OPENING, SIGHTING
from kernel_plan import (
    END,
    Character,
    character,
    digest_of_event,
    digest_of_receipts,
    operations,
    source_of,
)

CHILDREN = str(Path(__file__).with_name("kernel_children.py"))
PIPE_BYTES = 1024 * 1024
"""What an unprivileged process may ask for; a writer that is never listened to says less in its 30 ms."""
PATIENCE_SECONDS = 60
"""Whoever takes longer hangs."""


class Child:
    """A writer that lives until it is killed."""

    def __init__(self, pid: int, voice: int, reap) -> None:
        self.pid, self._voice, self._reap = pid, voice, reap

    def send(self, number: signal.Signals) -> None:
        # The zygote has not reaped it, so the number is still its own.
        os.kill(self.pid, number)

    def is_stopped(self) -> bool:
        """Whether every thread of it stands still."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            states = [_state(task) for task in Path(f"/proc/{self.pid}/task").iterdir()]
            if all(state == "T" for state in states):
                return True
            if "Z" in states:
                return False
            time.sleep(0.0002)
        return False

    def reap(self) -> int:
        """Its exit status, once it is gone."""
        return self._reap()

    def listen(self) -> list[tuple]:
        """What it has said since the last time."""
        heard = bytearray()
        while True:
            try:
                part = os.read(self._voice, PIPE_BYTES)
            except BlockingIOError:
                break
            if not part:
                break
            heard += part
        return list(MESSAGE.iter_unpack(heard))

    def bury(self) -> None:
        os.close(self._voice)


def _state(task: Path) -> str:
    try:
        return task.joinpath("stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "T"  # a thread that has just ended


class Zygote:
    """The process that writers are forked from."""

    def __init__(self, errors: Path) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(PATIENCE_SECONDS)
        with errors.open("ab") as stderr:
            command = [sys.executable, CHILDREN, "zygote", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=stderr)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._control.close()
        self._process.wait(PATIENCE_SECONDS)

    def bear(self, **order) -> Child:
        listen, speak = os.pipe()
        fcntl.fcntl(speak, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(listen, False)
        socket.send_fds(self._control, [json.dumps(order).encode()], [speak])
        os.close(speak)
        return Child(int(self._control.recv(64)), listen, self._reap)

    def _reap(self) -> int:
        self._control.send(b"r")
        return int(self._control.recv(64))


class Follower:
    """A reader process, and what it has seen of the log that it follows now."""

    def __init__(self, manner: str, seed: int, errors: Path) -> None:
        with errors.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, CHILDREN, "follow", manner, str(seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.manner = manner
        self._heard = bytearray()
        self._checked = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def _listen(self) -> None:
        while part := os.read(self._process.stdout.fileno(), 64 * 1024):
            self._heard += part

    def follow(self, log: Path) -> None:
        self._checked = 0
        self._heard.clear()
        self._process.stdin.write(f"{log}\n".encode())
        self._process.stdin.flush()

    def check(self, digests: list[bytes]) -> None:
        """Everything seen so far is the log, from its beginning, each event once and in order."""
        assert self._process.poll() is None, f"the {self.manner} reader died"
        whole = min(len(self._heard) // SIGHTING.size, len(digests))
        sightings = SIGHTING.iter_unpack(self._heard[self._checked * SIGHTING.size : whole * SIGHTING.size])
        for at, (seq, digest) in enumerate(sightings, self._checked):
            assert seq == at, f"the {self.manner} reader saw event {seq} where {at} was due"
            assert digest == digests[at], f"the {self.manner} reader saw another event {seq}"
        self._checked = whole

    def finish(self, digests: list[bytes]) -> None:
        """It sees the whole log and nothing else."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._checked < len(digests) and time.monotonic() < deadline:
            self.check(digests)
            time.sleep(0.001)
        assert self._checked == len(digests), f"the {self.manner} reader missed the end"
        assert len(self._heard) == len(digests) * SIGHTING.size


class Lane:
    """What one thread of one child has done: found in the log, and acknowledged."""

    def __init__(self, seed: int, child: int, lane: int, *, is_closer: bool) -> None:
        self.name = source_of(child, lane)
        self._plan = enumerate(operations(seed, child, lane, is_closer=is_closer))
        self._number, self._drafts = -1, []
        self._partly: list = []
        self._found: dict[int, tuple[int, bytes]] = {}
        self._acknowledged = -1

    def take(self, event) -> None:
        """The next event of this lane in the log: it must be the next of the plan, a batch in one piece."""
        while not self._drafts:
            self._number, operation = next(self._plan)
            self._drafts = list(operation.stored)
        draft = self._drafts.pop(0)
        assert not self._partly or event.seq == self._partly[-1].seq + 1, "a batch is interrupted"
        assert event.event_type == draft.event_type
        assert event.raw == draft.raw()
        assert event.aggregate_id == draft.aggregate_id
        assert draft.event_id in {None, event.event_id}
        assert event.correlation_id == draft.correlation_id
        assert event.tags == draft.tags
        self._partly.append(event)
        if not self._drafts:
            self._found[self._number] = (self._partly[0].seq, digest_of_receipts(self._partly))
            self._partly = []

    def acknowledge(self, number: int, seq: int, digest: bytes) -> None:
        """Each operation in turn; what it stored must be in the log already."""
        assert number == self._acknowledged + 1
        self._acknowledged = number
        if seq != NOTHING:
            assert number in self._found, f"event {seq} of {self.name} was acknowledged and is not in the log"
            assert self._found.pop(number) == (seq, digest), "another receipt than the event stored"

    def check(self) -> None:
        """At most the operation after the last acknowledged one is there, and that whole."""
        assert not self._partly, f"a part of a batch of {self.name} is in the log"
        assert set(self._found) <= {self._acknowledged + 1}, f"{self.name} is ahead of its acknowledgements"


class Ledger:
    """What one log holds, and whether that is right."""

    def __init__(self, log: Path, seed: int) -> None:
        self.log, self.seed = log, seed
        self.digests: list[bytes] = []
        self._reader: aresbus.Log | None = None
        self._heads: dict[str, tuple[int, int]] = {}
        self._ids: set[str] = set()
        self._epoch = 0
        self._lanes: dict[str, Lane] = {}
        self._is_first_opening = True
        self._is_unclean = False

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def begin(self, child: int, mine: Character) -> None:
        """A new writer; nothing of those before it may come any more."""
        lanes = [Lane(self.seed, child, lane, is_closer=mine.is_closer) for lane in range(mine.lanes)]
        self._lanes = {lane.name: lane for lane in lanes}
        self._by_number = lanes
        self._is_first_opening, self._before = True, len(self.digests)
        self._phase = "birth"

    @property
    def phase(self) -> str:
        """Where the writer was when it said its last word."""
        return self._phase

    def look(self, messages: list[tuple]) -> None:
        """Read what is new, and hold it against the plans and against what was acknowledged before this call."""
        self._read()
        for kind, lane, count, number, seq, digest in messages:
            if kind == DONE:
                assert (seq == NOTHING) == (count == 0)
                self._by_number[lane].acknowledge(number, seq, digest)
            elif kind == OPENED and self._is_first_opening:
                found = NOTHING if self._before == 0 else self._before - 1
                assert seq == found, f"the writer found the log to end at {seq}, not at {found}"
                self._is_first_opening = False
            self._phase = self._phase_of(kind)
            self._is_unclean = kind != CLOSED
        for lane in self._by_number:
            lane.check()

    def _phase_of(self, kind: bytes) -> str:
        if kind == OPENING:
            return "recovery" if self._is_unclean and self._is_first_opening else "opening"
        return {OPENED: "append", DONE: "append", CLOSING: "close", CLOSED: "closed"}[kind]

    def _read(self) -> None:
        if self._reader is None:
            try:
                self._reader = aresbus.open(self.log, mode="r")
            except FileNotFoundError:
                return
        for event in self._reader.read(after=len(self.digests) - 1 if self.digests else None):
            self._take(event)

    def _take(self, event) -> None:
        assert event.seq == len(self.digests), "a hole, or an event twice"
        assert event.event_id not in self._ids, "one id twice"
        assert event.epoch >= self._epoch
        self._ids.add(event.event_id)
        self._epoch = event.epoch
        if event.event_type != END:
            assert event.source in self._lanes, f"event {event.seq} of {event.source!r}, who is dead"
            self._lanes[event.source].take(event)
        if event.aggregate_id is not None:
            before, version = self._heads.get(event.aggregate_id, (None, -1))
            assert event.aggregate_prev == before
            assert event.aggregate_version == version + 1
            self._heads[event.aggregate_id] = (event.seq, version + 1)
        self.digests.append(digest_of_event(event))

    def check_whole(self) -> None:
        """A reader that knows nothing yet reads the same, and verify finds no fault."""
        if self._reader is None:
            return
        with aresbus.open(self.log, mode="r") as log:
            assert [digest_of_event(event) for event in log.read()] == self.digests
            for aggregate_id, (_, version) in self._heads.items():
                assert log.aggregate_version(aggregate_id) == version
        assert aresbus.verify(self.log)["findings"] == []

    def finish(self) -> None:
        """Recover and close it; its last event tells the readers so."""
        with aresbus.open(self.log, audit=False) as log:
            assert log.last_seq == (len(self.digests) - 1 if self.digests else None)
            log.append(END, None)
        self._read()
        self.check_whole()


class Supervisor:
    """Bears writers on one log after another and kills them."""

    def __init__(self, zygote: Zygote, followers: list[Follower], seed: int) -> None:
        self._zygote, self._followers, self._seed = zygote, followers, seed
        self.kills: Counter[str] = Counter()
        self.events = 0

    def run_log(self, path: Path, children: range) -> None:
        """One log, from its creation to its clean end, through the deaths of these children."""
        ledger = Ledger(path, self._seed)
        for follower in self._followers:
            follower.follow(path)
        for child in children:
            self._kill_one(ledger, child)
            for follower in self._followers:
                follower.check(ledger.digests)
            if child % 10 == 0:
                ledger.check_whole()
        ledger.finish()
        for follower in self._followers:
            follower.finish(ledger.digests)
        ledger.close()
        self.events += len(ledger.digests)

    def _kill_one(self, ledger: Ledger, number: int) -> None:
        mine = character(self._seed, number)
        ledger.begin(number, mine)
        child = self._zygote.bear(path=str(ledger.log), seed=self._seed, child=number)
        time.sleep(mine.delay_seconds)
        if mine.is_stopped_first:
            child.send(signal.SIGSTOP)
            if child.is_stopped():
                self.kills["stopped first"] += 1
                ledger.look(child.listen())
        child.send(signal.SIGKILL)
        status = child.reap()
        assert status == -signal.SIGKILL, f"the writer ended by itself: {status}"
        ledger.look(child.listen())
        child.bury()
        self.kills[ledger.phase] += 1
