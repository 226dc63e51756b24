"""An older process reads live what a newer one writes: newer schema versions, types nobody knows, records of other kinds.

The older one is newer_children.py, a process of its own that knows `tick` up to 1.1.0 and follows while the newer one writes.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import aresbus
import newer_children
import pytest
from aresbus import EventVersionManager

NEWER = b'{"price":{"amount":7.10,"currency":"USD"},"unheard":[1.50,-0.0]}'
FIXED_BYTES = 48
IGNORABLE = range(8, 16)


@contextmanager
def older(folder: Path, policy: str):
    """The older process, ready; a function gives its next line."""
    command = [sys.executable, newer_children.__file__, str(folder), policy]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()

        def say():
            line = process.stdout.readline()
            assert line, process.stderr.read()
            return json.loads(line)

        try:
            assert say() == {"ready": True}
            yield say
            process.wait(timeout=60)
            assert process.returncode == 0, process.stderr.read()
        finally:
            watchdog.cancel()
            process.kill()


def known(seq, price, version="1.1.0"):
    return {"event": "tick", "seq": seq, "data": {"price": price}, "version": version}


def write_as_newer(log) -> None:
    """A version and a type that the older build never heard of, between ticks that it knows."""
    log.append_bytes("tick", NEWER, encoding="json", schema_version="2.0.0")
    log.append("tick", {"price": 3}, schema_version="1.1.0")
    log.append("novelty", {"a": 1}, schema_version="1.0.0")
    log.append("tick", {"price": "end"}, schema_version="1.1.0")


def begun(folder: Path):
    """A log with a tick in the oldest form; stays open for more."""
    log = aresbus.open(folder, sync_interval_ms=1)
    log.append("tick", {"px": 1}, schema_version="1.0.0")
    return log


@pytest.mark.parametrize("policy", ["raw", "skip", "park"])
def test_what_an_older_process_makes_of_newer_events_is_its_policy(tmp_path, policy):
    with begun(tmp_path / "log") as log, older(tmp_path / "log", policy) as say:
        assert say() == known(0, 1), "brought forward from 1.0.0"
        write_as_newer(log)
        if policy == "raw":
            newer = {"event": "tick", "seq": 1, "data": json.loads(NEWER), "version": "2.0.0"}
            assert say() == newer, "as it is stored"
        assert say() == known(2, 3)
        if policy == "raw":
            assert say() == {"event": "novelty", "seq": 3, "data": {"a": 1}, "version": "1.0.0"}
        assert say() == known(4, "end")
        last = say()
    if policy == "park":
        assert last["parked"] == [[1, "tick", NEWER.decode()], [3, "novelty", '{"a":1}']]
    else:
        assert last["parked"] == []
    assert last["skipped"] == (2 if policy == "skip" else 0)


def test_halt_stands_still_before_the_newer_event_and_says_so(tmp_path):
    with begun(tmp_path / "log") as log, older(tmp_path / "log", "halt") as say:
        assert say() == known(0, 1)
        write_as_newer(log)
        halted = say()
        assert halted["halted"] == 1
        assert "known here are 1.0.0, 1.1.0; 2.0.0 is not" in halted["reason"]
        assert say()["parked"] == []
    with aresbus.open(tmp_path / "log") as log, older(tmp_path / "log", "halt") as say:
        # Its checkpoint stands before it: a new process of the old build stands there again, and loses nothing.
        assert say()["halted"] == 1
        say()


def test_once_the_older_process_has_learnt_the_version_nothing_is_missing(tmp_path):
    with begun(tmp_path / "log") as log, older(tmp_path / "log", "raw") as say:
        assert say() == known(0, 1)
        write_as_newer(log)
        seen = [say() for _ in range(4)]
    assert [one["seq"] for one in seen] == [1, 2, 3, 4]
    learnt = EventVersionManager()
    newer_children.declare(learnt)
    learnt.upcaster("tick", "1.1.0", "2.0.0")(lambda data: {"price": {"amount": data["price"]}})
    learnt.register("tick", {"required_fields": ["price"]}, version="2.0.0")
    with aresbus.open(tmp_path / "log", mode="r") as log:
        shown = [event.data for event in learnt.read_as_current(log.read(types="tick"))]
    assert [data["price"]["amount"] for data in shown] == [1, 7.1, 3, "end"]


# Records of kinds that a newer build will write: 8 to 15 are passed over, by docs/format.md


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def record_of_kind(kind: int, seq: int, epoch: int, body: bytes) -> bytes:
    """A whole record by the format's page: commit word, checksum, the next event's position, a body of its own."""
    size = max(16 + len(body), FIXED_BYTES) + 7 & ~7
    word = struct.pack("<I", kind << 28 | size)
    rest = (struct.pack("<Q", seq) + body).ljust(size - 8, b"\0")
    return word + struct.pack("<I", crc32c(struct.pack("<I", epoch) + word + rest)) + rest


def test_the_checksum_is_that_of_the_format():
    assert crc32c(b"123456789") == 0xE3069283


def newer_writer_dies(folder: Path) -> None:
    """A writer appends a second tick and is killed: the log is left as it stood."""
    code = (
        "import aresbus, os, signal, sys\n"
        "log = aresbus.open(sys.argv[1])\n"
        "log.append('tick', {'price': 2}, schema_version='1.1.0')\n"
        "log.sync()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_records_of_newer_kinds_are_passed_over_live(tmp_path):
    folder = tmp_path / "log"
    begun(folder).close()
    newer_writer_dies(folder)
    with older(folder, "halt") as say:
        assert say() == known(0, 1)
        assert say() == known(1, 2)
        with aresbus.open(folder, mode="r") as log:
            newest = log.stats()["segments"][-1]
        records = b"".join(
            record_of_kind(kind, 2, newest["epoch"], bytes([kind]) * 100 * (kind - 8)) for kind in IGNORABLE
        )
        write_at_its_end(folder, newest, records)
        with aresbus.open(folder) as log:
            assert log.recovery["cut"] is None, "they are no torn tail"
            log.append("tick", {"price": "end"}, schema_version="1.1.0")
            assert say() == known(2, "end")
        say()
    verified = aresbus.verify(folder)
    assert (verified["skipped_records"], verified["events"], verified["findings"]) == (8, 3, [])


def write_at_its_end(folder: Path, segment: dict, records: bytes) -> None:
    path = folder / "segments" / f"{segment['number']:016}.log"
    # ORDER: the first commit word last, as a writer does it, since somebody follows.
    with path.open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), records[4:], segment["used_bytes"] + 4)
        os.pwrite(file.fileno(), records[:4], segment["used_bytes"])
