"""A log that may not be written: on a file system mounted read-only, and under another user. Reading goes on as ever."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import aresbus
import pytest
from aresbus import EnhancedEventBus, StorageError, setup_enhanced_event_bus
from bad_day_support import (
    Mount,
    aresbus_command,
    aresbus_process,
    check_error,
    child,
    make_log,
    numbers,
    refused,
)
from bus_support import make_bus, run

NOBODY = 65534


@pytest.fixture
def mount(tmp_path):
    made = Mount(tmp_path / "disk", "16m")
    yield made
    made.unmount()


@pytest.fixture
def log(mount):
    """A log on a file system that has become read-only."""
    path = make_log(mount.path / "log")
    mount.make_read_only()
    return path


def test_opening_it_for_writing_is_refused_by_name(log):
    for _ in range(2):
        with refused(StorageError, log, errno=errno.EROFS, committed=False) as caught:
            aresbus.open(log)
        assert isinstance(caught.value, OSError)
        assert str(caught.value.path).startswith(str(log))
    with refused(StorageError, log, errno=errno.EROFS):
        aresbus.open(log, audit=False)


def test_a_new_log_is_refused_and_leaves_nothing(log):
    for path in (log.parent / "new", log.parent / "new" / "deeper"):
        with refused(StorageError, path, errno=errno.EROFS):
            aresbus.open(path)
    assert not (log.parent / "new").exists()


def test_reading_works_whole(log):
    with aresbus.open(log, mode="r") as reader:
        assert [event.data for event in reader.read()] == [0, 1, 2, 3, 4]
        assert [event.data for event in reader.follow(timeout=0.01)] == [0, 1, 2, 3, 4]
        assert reader.aggregate_version("a") == 4
        assert reader.verify()["findings"] == []
        assert reader.stats()["event_count"] == 5


def test_the_command_line_reads_and_says_why_it_cannot_write(log, tmp_path):
    (tmp_path / "feed").write_text('1 {"a":1}\n')
    for verb in ("read", "info", "verify"):
        done = aresbus_command(verb, log)
        assert (done.returncode, done.stderr) == (0, ""), verb
    for arguments in (
        ("record", tmp_path / "feed", "--log", log, "--source", "s"),
        ("demo", "--log", log.parent / "new"),
    ):
        done = aresbus_process(*arguments)
        assert done.returncode == 2
        assert "[AB0001]" in done.stderr
        assert str(log.parent) in done.stderr
        assert "Traceback" not in done.stderr


def test_a_bus_says_so_in_each_of_its_ways(log, caplog):
    async def act():
        section = {"event_bus": {"storage_path": str(log)}}
        bus = EnhancedEventBus(section)
        assert await bus.initialize() is False
        check_error(bus.last_error, StorageError, log, errno=errno.EROFS)
        assert "AB0001" in caplog.text
        with refused(StorageError, log, errno=errno.EROFS, committed=False):
            await bus.publish("risk_alert", 1)
        await bus.stop()
        assert await setup_enhanced_event_bus(section) is None
        with refused(StorageError, log, errno=errno.EROFS):
            await make_bus(log).initialize()

    run(act())


def test_a_reading_bus_works(log):
    async def act():
        async with EnhancedEventBus({"event_bus": {"storage_path": str(log)}}, mode="r", strict=True) as bus:
            assert [event.data for event in await bus.replay_events()] == [0, 1, 2, 3, 4]

    run(act())


def test_once_it_may_be_written_it_goes_on_as_if_nothing_had_been(mount, log):
    with pytest.raises(StorageError):
        aresbus.open(log)
    mount.make_writable()
    with aresbus.open(log) as writer:
        assert writer.recovery["clean"]
        assert writer.append("note", 5).seq == 5
    assert numbers(log) == [0, 1, 2, 3, 4, 5]


# Another user


@pytest.fixture
def open_folder():
    """A folder that every user may reach, as tmp_path is not."""
    folder = Path(tempfile.mkdtemp(prefix="aresbus-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def let_others(path: Path, folder_mode: int, file_mode: int) -> None:
    for file in [path, *path.rglob("*")]:
        file.chmod(folder_mode if file.is_dir() else file_mode)


def as_another_user(path: Path) -> list[str]:
    """What that user hears when it opens the log to write, and to read."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user, and only another user is refused by permissions")
    with child("as_user", NOBODY, path) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    return out.splitlines()


def test_another_user_who_may_read_is_refused_to_write_and_reads(open_folder):
    log = make_log(open_folder / "log")
    let_others(log, 0o755, 0o644)
    writing, reading = as_another_user(log)
    assert writing.startswith(f"StorageError AB0001 {errno.EACCES} {log}")
    assert reading == "read 5"
    assert numbers(log) == [0, 1, 2, 3, 4]


def test_a_log_is_private_to_its_user(open_folder):
    log = make_log(open_folder / "log")
    writing, reading = as_another_user(log)
    assert writing.startswith(f"StorageError AB0001 {errno.EACCES} {log}")
    assert reading.startswith(f"StorageError AB0001 {errno.EACCES} {log}")


def test_the_modes_are_those_of_private_files(tmp_path):
    log = make_log(tmp_path / "log")
    for path in [log, *log.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
