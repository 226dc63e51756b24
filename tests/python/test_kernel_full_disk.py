"""A full disk at its worst moments: while it is recovered, while it is killed and killed again, while others read.

On a tmpfs and on an ext4, whose fallocate really says that there is no room; test_bad_day_full_disk.py has the plain days.
"""

import json
import os
import random
import signal
from contextlib import suppress
from itertools import count

import aresbus
import pytest
from aresbus import DiskFullError, StorageError
from bad_day_support import Mount, child, contents, heard, numbers
from kernel_disk_children import BIG, SMALL
from real_disks import LoopDisk
from snapshot_support import read_snapshots
from test_kernel_real_disk import CHILDREN

PAGE_BYTES = 4096
CYCLES = 6
EVENTS = 40


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request, tmp_path):
    """12 MiB or a little more."""
    if request.param == "tmpfs":
        made = Mount(tmp_path / "disk", "12m")
        yield made.path
        made.unmount()
    else:
        made = LoopDisk(tmp_path / "disk", mib=16)
        yield made.path
        made.destroy()


class Ballast:
    """A file that takes all room there is, but for some pages."""

    def __init__(self, disk) -> None:
        self._file = disk / "ballast"

    def take_all_but(self, pages: int) -> None:
        with self._file.open("ab", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(bytes(16 * PAGE_BYTES))
            with suppress(OSError):
                while True:
                    file.write(bytes(PAGE_BYTES))
            os.fsync(file.fileno())
        os.truncate(self._file, max(0, self._file.stat().st_size - pages * PAGE_BYTES))

    def free(self) -> None:
        self._file.unlink(missing_ok=True)


def until_said(process, kind) -> list[int]:
    """The numbers stored until the child says something of this kind."""
    stored = []
    while kind not in (said := json.loads(heard(process))):
        stored += [said["stored"]] if "stored" in said else []
    return stored


def rest_of(process) -> list[int]:
    said = [json.loads(line) for line in process.stdout if line.endswith("\n")]
    return [one["stored"] for one in said if "stored" in one]


def test_full_and_free_again_and_killed_each_time_beside_a_reader(disk):
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    rng, ballast, log = random.Random(seed), Ballast(disk), disk / "log"
    aresbus.open(log, **SMALL).close()
    total = 0
    with child("follow", log, script=CHILDREN) as reader:
        for _ in range(CYCLES):
            with child("fill_for_ever", log, script=CHILDREN) as writer:
                assert json.loads(heard(writer)) == {"opened": total}
                for _ in range(rng.randint(1, 3)):
                    ballast.take_all_but(rng.choice([0, 1, 20]))
                    until_said(writer, "full")
                    ballast.free()
                    for _ in range(rng.randrange(20)):
                        heard(writer)
                writer.send_signal(signal.SIGKILL)
                stored = rest_of(writer)
                writer.wait()
            found = [number for number, _ in numbers(log)]
            assert found == list(range(len(found)))
            assert len(found) >= max([total, *(number + 1 for number in stored)])
            total = len(found)
        for number in range(total):
            assert json.loads(heard(reader)) == {"seen": number}
    with aresbus.open(log, **SMALL) as opened:
        assert opened.verify()["findings"] == []
        assert opened.last_seq == total - 1


def full(act) -> bool:
    """Whether there was no room for it; nothing else may go wrong."""
    try:
        act()
    except StorageError as caught:
        error = caught
    else:
        return False
    assert type(error) is DiskFullError, repr(error)
    return True


@pytest.mark.parametrize("state", ["killed", "torn"])
def test_recovery_with_any_number_of_pages_left_is_done_or_refused(disk, state):
    ballast, log = Ballast(disk), disk / "log"
    acknowledged = make_killed(log)
    if state == "torn":
        tear(log)
    for pages in count(0, 3):
        ballast.take_all_but(pages)
        is_full = full(lambda: aresbus.open(log, **SMALL).close())
        assert [number for number, _ in numbers(log)] == acknowledged
        ballast.free()
        if not is_full:
            break
        assert pages < 200, "enough room for every step, and still refused"
    # Where the room of its own spare was enough, it was never refused.
    with aresbus.open(log, **SMALL) as opened:
        assert [event.data[0] for event in opened.read()] == acknowledged
        assert opened.append("note", [0, BIG]).seq == len(acknowledged)
        assert opened.verify()["findings"] == []
    if state == "torn":
        assert any(b"torn" in kept for name, kept in contents(log).items() if name.startswith("quarantine/"))


def make_killed(log) -> list[int]:
    """The log of a process that was killed; what it holds."""
    with child("fill_for_ever", log, script=CHILDREN) as writer:
        for _ in range(EVENTS):
            heard(writer)
    return [number for number, _ in numbers(log)]


def tear(log) -> None:
    """Bytes behind the last record of the newest segment that has one."""
    with aresbus.open(log, mode="r") as reader:
        newest = reader.stats()["segments"][-1]
    with (log / "segments" / f"{newest['number']:016}.log").open("r+b") as file:
        file.seek(newest["used_bytes"] + 8)
        file.write(b"torn" * 1000)


def test_a_snapshot_is_stored_whole_or_refused_whatever_room_is_left(disk):
    ballast, log = Ballast(disk), disk / "log"
    with aresbus.open(log, **SMALL) as opened:
        opened.append("note", [0, ""])
        opened._write_snapshot("a", 0, b"first", 2)
        for pages in count():
            ballast.take_all_but(pages)
            is_full = full(lambda at=pages + 1: opened._write_snapshot("a", at, BIG.encode() * 4, 2))
            stored = [seq for seq, kept in read_snapshots(opened, "a") if kept]
            ballast.free()
            assert not list((log / "snapshots").glob("*.tmp"))
            if not is_full:
                break
            assert stored == [0]
            assert pages < 100
        assert stored == [pages + 1, 0]
        assert opened.poisoned is None
