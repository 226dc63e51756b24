"""The bad day through the public API: disks that are full or read-only, files that are foreign, damaged or from the future.

Owns what needs a file system of its own, a small tmpfs, and skips where it may not mount one. Each case has its typed
error, changes nothing that was acknowledged, and ends once its cause is gone.
"""

import errno
import os
import shutil
import subprocess

import aresbus
import pytest
from aresbus import EnhancedEventBus
from bus_support import make_bus, run

PAYLOAD = "x" * 10_000


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("this machine mounts no tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


def fill(place):
    """Leave no room beside the log."""
    with (place / "ballast").open("wb") as ballast:
        try:
            while True:
                ballast.write(bytes(1 << 16))
                ballast.flush()
        except OSError:
            return


def contents(log):
    return [event.data for event in log.read()]


# A full disk


def test_on_a_full_disk_appends_go_on_while_there_is_room_then_say_so(small_disk):
    with aresbus.open(small_disk / "log", durability="group") as log:
        stored = 0
        log.append("a", PAYLOAD)
        fill(small_disk)

        def append_on():
            nonlocal stored
            while True:
                stored += 1
                log.append("a", PAYLOAD)

        with pytest.raises(aresbus.DiskFullError) as caught:
            append_on()
        assert caught.value.errno == errno.ENOSPC
        assert not caught.value.committed
        assert contents(log) == [PAYLOAD] * stored
        with pytest.raises(aresbus.DiskFullError):
            log.append("a", PAYLOAD)
        (small_disk / "ballast").unlink()
        assert log.append("a", "again").seq == stored
    with aresbus.open(small_disk / "log") as log:
        assert log.recovery["clean"]
        assert contents(log) == [*[PAYLOAD] * stored, "again"]
        assert log.verify()["findings"] == []


def test_a_bus_on_a_full_disk_raises_also_if_it_is_lenient(small_disk):
    async def act():
        bus = EnhancedEventBus({"event_bus": {"storage_path": str(small_disk / "log")}})
        await bus.publish("risk_alert", PAYLOAD)
        fill(small_disk)
        count = 0

        async def publish_on():
            nonlocal count
            while True:
                count += 1
                await bus.publish("risk_alert", PAYLOAD)

        with pytest.raises(aresbus.DiskFullError):
            await publish_on()
        assert isinstance(bus.last_error, aresbus.DiskFullError)
        assert len(await bus.replay_events()) == count
        (small_disk / "ballast").unlink()
        assert await bus.publish("risk_alert", "again")
        await bus.stop()

    run(act())


def test_reopening_on_a_full_disk_says_so_and_changes_nothing_acknowledged(small_disk):
    with aresbus.open(small_disk / "log") as log:
        for _ in range(50):
            log.append("a", PAYLOAD)
    for spare in (small_disk / "log").rglob("*.tmp"):
        spare.unlink()
    fill(small_disk)
    try:
        with aresbus.open(small_disk / "log") as log:
            assert contents(log) == [PAYLOAD] * 50
    except aresbus.DiskFullError:
        with aresbus.open(small_disk / "log", mode="r") as log:
            assert contents(log) == [PAYLOAD] * 50
    (small_disk / "ballast").unlink()
    with aresbus.open(small_disk / "log") as log:
        assert log.append("a", "again").seq == 50
        assert len(contents(log)) == 51


def test_making_a_log_on_a_full_disk_says_so_and_succeeds_later(small_disk):
    fill(small_disk)
    with pytest.raises(aresbus.DiskFullError):
        aresbus.open(small_disk / "log")
    (small_disk / "ballast").unlink()
    with aresbus.open(small_disk / "log") as log:
        assert log.append("a", 1).seq == 0


# A read-only file system


def test_on_a_read_only_file_system_readers_read_and_writers_are_told(small_disk):
    with aresbus.open(small_disk / "log") as log:
        log.append("a", 1)
    del log  # a handle keeps its mappings, closed or not, until it goes
    remount(small_disk, "ro")
    with pytest.raises(aresbus.StorageError) as caught:
        aresbus.open(small_disk / "log")
    assert caught.value.errno == errno.EROFS
    with pytest.raises(aresbus.StorageError) as caught:
        aresbus.open(small_disk / "another")
    assert caught.value.errno == errno.EROFS
    with aresbus.open(small_disk / "log", mode="r") as log:
        assert contents(log) == [1]
    remount(small_disk, "rw")
    with aresbus.open(small_disk / "log") as log:
        assert contents(log) == [1]


def test_a_bus_on_a_read_only_file_system_says_false(small_disk, caplog):
    remount(small_disk, "ro")

    async def act():
        bus = EnhancedEventBus({"event_bus": {"storage_path": str(small_disk / "log")}})
        assert await bus.initialize() is False
        assert bus.last_error.errno == errno.EROFS

    run(act())
    assert "AB0001" in caplog.text


# Foreign, damaged and newer files


def made(folder):
    with aresbus.open(folder) as log:
        for n in range(100):
            log.append("a", n)
    return folder


def image(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "audit" not in path.parts and path.name != "LOCK"
    }


@pytest.mark.parametrize("name", ["META", "segments/0000000000000000.log"])
@pytest.mark.parametrize("text", [b"", b"not ours at all" * 1_000])
def test_a_foreign_file_in_the_place_of_ours_is_an_error_and_stays(tmp_path, name, text):
    made(tmp_path)
    first = min((tmp_path / "segments").iterdir()) if "segments" in name else tmp_path / name
    first.write_bytes(text)
    before = image(tmp_path)
    for mode in ("rw", "r"):
        with pytest.raises((aresbus.CorruptionError, aresbus.FormatVersionError)) as caught:
            aresbus.open(tmp_path, mode=mode)
        assert caught.value.path
    assert image(tmp_path) == before


def test_stray_files_are_named_and_left_alone(tmp_path):
    made(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "segments" / "old.bak").write_text("mine too")
    with aresbus.open(tmp_path) as log:
        assert {"notes.txt", "segments/old.bak"} <= set(log.recovery["stray_files"])
        assert contents(log) == list(range(100))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "segments" / "old.bak").read_text() == "mine too"


def test_a_file_where_the_directory_should_be(tmp_path):
    (tmp_path / "log").write_text("a file")
    for mode in ("rw", "r"):
        with pytest.raises((aresbus.StorageError, OSError)):
            aresbus.open(tmp_path / "log", mode=mode)
    assert (tmp_path / "log").read_text() == "a file"


def test_a_damaged_segment_is_an_error_that_says_where_and_nothing_changes(tmp_path):
    with aresbus.open(made(tmp_path), mode="r") as log:
        first, *_ = log.stats()["segments"]
    segment = tmp_path / "segments" / f"{first['number']:016}.log"
    raw = bytearray(segment.read_bytes())
    raw[first["used_bytes"] - 500] ^= 1
    segment.write_bytes(raw)
    before = image(tmp_path)
    with pytest.raises(aresbus.CorruptionError) as caught, aresbus.open(tmp_path, mode="r") as log:
        contents(log)
    assert caught.value.path == str(segment)
    assert 0 < caught.value.offset <= first["used_bytes"] - 500
    with pytest.raises(aresbus.CorruptionError), aresbus.open(tmp_path) as log:
        contents(log)
    assert image(tmp_path) == before
    assert aresbus.verify(tmp_path)["findings"]


def test_a_young_log_takes_an_event_larger_than_its_first_segment(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await bus.publish("risk_alert", "x" * (5 << 20))
            assert len((await bus.replay_events())[0].data) == 5 << 20

    run(act())
