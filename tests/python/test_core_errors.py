"""The engine's errors as Python sees them: the class, the fields, errno, and pickles."""

import errno
import os
import pickle
import shutil
import subprocess

import pytest
from aresbus import _core, errors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 3 MiB, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if (
        mount is None
        or os.geteuid() != 0
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def assert_survives_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert {name: getattr(again, name) for name in error.FIELDS} == {
        name: getattr(error, name) for name in error.FIELDS
    }


def test_closed():
    log = _core.Log(None)
    log.close()
    with pytest.raises(errors.LogClosedError) as raised:
        log.append("t", 1)
    assert raised.value.errno == errno.EBADF
    assert raised.value.committed is False
    assert_survives_pickling(raised.value)


def test_locked(path):
    with _core.Log(path), pytest.raises(errors.LogLockedError) as raised:
        _core.Log(path)
    assert (raised.value.pid, raised.value.path) == (os.getpid(), str(path))
    assert raised.value.host
    assert raised.value.started
    assert isinstance(raised.value, OSError)
    assert_survives_pickling(raised.value)


def test_limits():
    with _core.Log(None) as log, pytest.raises(errors.LimitError) as raised:
        log.append("t" * 300, 1)
    assert (raised.value.got, raised.value.limit) == (300, 255)
    assert isinstance(raised.value, ValueError)
    assert_survives_pickling(raised.value)


def test_a_payload_beyond_a_segment(path):
    with _core.Log(path, segment_bytes=65_536) as log:
        with pytest.raises(errors.LimitError):
            log.append_bytes("t", b"x" * 70_000)
        assert log.append_bytes("t", b"x" * 10_000).seq == 0


def test_conflicts():
    with _core.Log(None) as log:
        log.append("opened", 1, aggregate_id="a")
        with pytest.raises(errors.VersionConflictError) as raised:
            log.append("t", 1, aggregate_id="a", expected_version=_core.Expected.NONE)
    error = raised.value
    assert (error.expected, error.actual, error.conflicting_seq) == (_core.Expected.NONE, 0, 0)
    assert error.conflicting_type == "opened"
    assert_survives_pickling(error)


def test_truncation():
    with _core.Log(None, memory_bytes=262_144) as log:
        while log.first_seq == 0:
            log.append_bytes("t", b"x" * 10_000)
        with pytest.raises(errors.TruncatedError) as raised:
            list(log.read(after=0))
        assert raised.value.first_seq == log.first_seq
        assert next(log.read()).seq == log.first_seq
    assert_survives_pickling(raised.value)


def test_damage_and_foreign_files(path):
    with _core.Log(path) as log:
        log.append("t", "x" * 100)
    segment = min((path / "segments").glob("*.log"))
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b"xxxx", b"yyyy", 1))
    with pytest.raises(errors.CorruptionError) as raised:
        _core.Log(path)
    assert (raised.value.path, raised.value.errno) == (str(segment), errno.EIO)
    assert raised.value.reason
    assert raised.value.offset > 0
    assert_survives_pickling(raised.value)
    segment.write_bytes(b"something else entirely" * 1000)
    with pytest.raises((errors.CorruptionError, errors.FormatVersionError)):
        _core.Log(path)


def test_what_the_system_refuses(tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(errors.StorageError) as raised:
        _core.Log(file / "log")
    assert raised.value.errno == errno.ENOTDIR
    assert raised.value.path
    assert_survives_pickling(raised.value)


def test_a_full_disk_refuses_appends_and_keeps_what_there_is(tiny_disk):
    log = _core.Log(tiny_disk / "log", segment_bytes=1 << 20)

    def fill():
        while True:
            log.append_bytes("t", b"x" * 10_000)

    with pytest.raises(errors.DiskFullError) as raised:
        fill()
    count = log.last_seq + 1
    assert (raised.value.errno, raised.value.committed) == (errno.ENOSPC, False)
    assert count > 50
    assert len(list(log.read())) == count
    assert_survives_pickling(raised.value)
    log.close()
    assert _core.verify(tiny_disk / "log")["findings"] == []


def test_a_reader_s_refusals_carry_the_path(path):
    _core.Log(path).close()
    with _core.Log(path, mode="r") as log, pytest.raises(errors.StorageError, match="reading only") as raised:
        log.append("t", 1)
    assert (raised.value.path, raised.value.errno) == (str(path), errno.EBADF)


def test_every_error_advises():
    with pytest.raises(errors.ConfigError) as raised:
        _core.Log(None, segment_bytes=0)
    assert str(raised.value).startswith("[AB0010] ")
    assert str(raised.value).endswith(raised.value.advice)
    assert raised.value.problems
    assert_survives_pickling(raised.value)
