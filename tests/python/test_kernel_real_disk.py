"""A device that really refuses: failed syncs from the kernel itself, and what is on the disk after a cold start.

ext4 on a loop device that refuses blocks (real_disks.py). Not shown here, for want of a device mapper on common machines:
reads that fail, and writes that are lost without a word; the simulated disk has those.
"""

import errno
import json
from pathlib import Path

import aresbus
import pytest
from bad_day_support import child, heard
from kernel_disk_children import BIG
from real_disks import LoopDisk

CHILDREN = str(Path(__file__).with_name("kernel_disk_children.py"))


@pytest.fixture
def disk(tmp_path, request):
    made = LoopDisk(tmp_path / "disk", has_journal=request.param == "journal")
    yield made
    made.destroy()


def wear_out(disk, durability) -> dict:
    """What a writer says that met a failing sync."""
    with child("wear_out", disk.path / "log", durability, script=CHILDREN) as writer:
        assert json.loads(heard(writer)) == {"opened": -1}
        disk.starve()
        writer.stdin.write("go on\n")
        writer.stdin.flush()
        said = json.loads(heard(writer))
        assert writer.wait() == 0, writer.stderr.read()
    assert said["is_read_whole"], "a failed sync is no obstacle to reading"
    assert said["closing"] == errno.EIO
    assert "syncing" in said["reason"] or "watermark" in said["reason"]
    return said


def stored(disk) -> list[int]:
    with aresbus.open(disk.path / "log", mode="r") as log:
        return [event.data[0] for event in log.read()]


def recovered(disk) -> list[int]:
    """What a writer finds, having appended one event more, durably."""
    with aresbus.open(disk.path / "log", audit=False) as log:
        assert not log.recovery["clean"]
        found = [event.data[0] for event in log.read()]
        assert log.append("note", [len(found), BIG], durability="always").seq == len(found)
        assert log.verify()["findings"] == []
    return found


def check_cold(disk, count) -> None:
    """After a remount nothing is owed to what was still in memory."""
    disk.remount()
    assert stored(disk) == list(range(count))
    assert aresbus.verify(disk.path / "log")["findings"] == []


@pytest.mark.parametrize("durability", ["interval", "group", "always"])
@pytest.mark.parametrize("disk", ["plain", "journal"], indirect=True)
def test_recovery_writes_once_more_what_a_failed_sync_lost(disk, durability):
    said = wear_out(disk, durability)
    disk.feed()
    found = recovered(disk)
    assert found == list(range(len(found)))
    assert len(found) > said["acknowledged"]
    assert said["stands"] in {None, len(found) - 1}
    check_cold(disk, len(found) + 1)


@pytest.mark.parametrize("durability", ["interval", "group", "always"])
@pytest.mark.parametrize("disk", ["plain", "journal"], indirect=True)
def test_after_a_cold_start_everything_durable_is_there(disk, durability):
    said = wear_out(disk, durability)
    disk.feed()
    disk.remount()
    found = recovered(disk)
    assert found == list(range(len(found)))
    assert said["durable"] is None or len(found) > said["durable"]
    if durability != "interval":
        assert len(found) > said["acknowledged"], "acknowledged as durable, and gone"
    check_cold(disk, len(found) + 1)
