"""Recorded market days through the whole system: byte for byte, through 20 kills, and seen live by another process.

Runs on the slice in the package; ``--captures DIR`` takes whole captures. What a capture holds is read here a second
time, by other means than those of the command line.
"""

import fcntl
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import aresbus
import pytest
from aresbus.market_day import CAPTURES
from capture_children import ACKNOWLEDGEMENT, SIGHTING, digest

CHILDREN = Path(__file__).with_name("capture_children.py")
PIPE_BYTES = 4096
AHEAD = 2 * PIPE_BYTES // ACKNOWLEDGEMENT.size
"""Events a recorder may be ahead of the acknowledgements read: one pipe, and one read of it."""
KILLS = 20
KIB = 1024
SMALLEST = 64 * KIB
"""Of a segment. Its header takes a quarter of that."""


@dataclass(frozen=True)
class Day:
    """One capture, read independently of the package."""

    path: Path
    source: str

    @cached_property
    def messages(self) -> list[tuple[int, bytes]]:
        """Receive time and payload of each line."""
        lines = gzip.decompress(self.path.read_bytes()).splitlines()
        return [(int(time_ns), payload) for time_ns, payload in (line.split(b" ", 1) for line in lines)]

    @cached_property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.messages]

    @cached_property
    def types(self) -> list[str]:
        return [json.loads(payload).get("stream", "@snapshot").split("@")[1] for payload in self.payloads]


@lru_cache
def days(folder: Path | None) -> list[Day]:
    if folder is None:
        return [Day(capture.path, capture.source) for capture in CAPTURES]
    found = [Day(path, path.stem) for path in sorted(folder.glob("*.gz"))]
    assert found, f"no capture (*.gz) in {folder}"
    return found


def pytest_generate_tests(metafunc):
    if "day" in metafunc.fixturenames:
        found = days(metafunc.config.getoption("captures"))
        metafunc.parametrize("day", found, ids=lambda day: day.path.stem)


class Recorder:
    """A recorder process that resumes where the log ends."""

    def __init__(self, log: Path, day: Day, segment_bytes: int) -> None:
        command = ["record", log, day.path, day.source, segment_bytes]
        self._listen, speak = os.pipe()
        fcntl.fcntl(speak, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._process = subprocess.Popen([sys.executable, str(CHILDREN), *map(str, command)], stdout=speak)
        os.close(speak)
        self.acknowledged: list[int] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._listen)

    def listen(self, until: int | None = None) -> None:
        """Hear acknowledgements up to that of seq ``until``; None: until the process has ended."""
        while until is None or not self.acknowledged or self.acknowledged[-1] < until:
            heard = os.read(self._listen, PIPE_BYTES)
            if not heard:
                break
            self.acknowledged += [seq for (seq,) in ACKNOWLEDGEMENT.iter_unpack(heard)]

    def kill(self) -> int:
        self._process.kill()
        self.listen()
        return self._process.wait()

    def finish(self) -> int:
        self.listen()
        return self._process.wait()


def stored_payloads(log: Path) -> list[bytes]:
    with aresbus.open(log, mode="r") as opened:
        events = list(opened.read())
    assert [event.seq for event in events] == list(range(len(events)))
    return [event.raw for event in events]


def room_for(day: Day) -> int:
    """The smallest segment, in powers of two, that takes the day's largest message."""
    segment_bytes = SMALLEST
    while segment_bytes * 3 // 4 < max(map(len, day.payloads)) + KIB:
        segment_bytes *= 2
    return segment_bytes


def points_to_kill_at(rng: random.Random, count: int, kills: int) -> list[int]:
    """Seqs in order, far enough from the end that no recorder reaches it, however far each is ahead."""
    return sorted(rng.sample(range(1, count - (kills + 1) * AHEAD), kills))


def test_a_whole_capture_is_recorded_and_read_back(day, tmp_path):
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "aresbus",
        "record",
        day.path,
        "--log",
        log,
        "--source",
        day.source,
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["events"] == len(day.messages)
    assert said["types"] == dict(Counter(day.types))

    with aresbus.open(log, mode="r") as opened:
        events = list(opened.read())
    assert [event.seq for event in events] == list(range(len(day.messages)))
    assert [event.raw for event in events] == day.payloads
    assert [event.event_time_ns for event in events] == [time_ns for time_ns, _ in day.messages]
    assert [str(event.event_type) for event in events] == day.types
    assert {event.source for event in events} == {day.source}
    assert {event.encoding for event in events} == {"json-given"}

    symbols = [json.loads(payload).get("data", {}).get("s") for payload in day.payloads]
    assert [event.aggregate_id for event in events] == [
        symbol and f"{day.source}:{symbol}" for symbol in symbols
    ]
    aggregate = f"{day.source}:{symbols[0]}"
    versions = [event.aggregate_version for event in events if event.aggregate_id == aggregate]
    assert versions == list(range(len(versions)))


def test_twenty_kills_lose_nothing_that_was_acknowledged(day, tmp_path, record_property):
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    record_property("seed", seed)
    rng = random.Random(seed)
    log = tmp_path / "log"
    for point in points_to_kill_at(rng, len(day.messages), KILLS):
        with Recorder(log, day, 256 * KIB) as recorder:
            recorder.listen(until=point)
            # So that the kill does not always meet the recorder just after a write to the pipe.
            time.sleep(rng.random() * 300e-6)
            assert recorder.kill() == -signal.SIGKILL
        stored = stored_payloads(log)
        assert recorder.acknowledged[-1] < len(stored)
        assert stored == day.payloads[: len(stored)]
    with Recorder(log, day, 256 * KIB) as recorder:
        assert recorder.finish() == 0
    assert stored_payloads(log) == day.payloads
    verified = aresbus.verify(log)
    assert verified["findings"] == []


@pytest.mark.parametrize("segment_bytes", [SMALLEST, 1024 * KIB], ids=["smallest", "1MiB"])
def test_a_second_process_follows_through_rolls_a_kill_and_the_next_writer(day, segment_bytes, tmp_path):
    segment_bytes = max(segment_bytes, room_for(day))
    log, notes = tmp_path / "log", tmp_path / "notes"
    last_seq = len(day.messages) - 1
    with Recorder(log, day, segment_bytes) as recorder:
        recorder.listen(until=10)
        command = [sys.executable, str(CHILDREN), "follow", str(log), str(last_seq), str(notes)]
        follower = subprocess.Popen(command)
        try:
            recorder.listen(until=last_seq // 3)
            assert recorder.kill() == -signal.SIGKILL
            with Recorder(log, day, segment_bytes) as second:
                second.listen(until=last_seq // 2)
                assert second.kill() == -signal.SIGKILL
            with Recorder(log, day, segment_bytes) as third:
                assert third.finish() == 0
            assert follower.wait(timeout=120) == 0
        finally:
            follower.kill()
            follower.wait()
    expected = [
        (seq, digest(kind, raw)) for seq, (kind, raw) in enumerate(zip(day.types, day.payloads, strict=True))
    ]
    assert list(SIGHTING.iter_unpack(notes.read_bytes())) == expected
    with aresbus.open(log, mode="r") as opened:
        segments = opened.stats()["segments"]
    assert len(segments) > sum(map(len, day.payloads)) // segment_bytes
