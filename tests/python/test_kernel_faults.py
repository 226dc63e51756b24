"""Any one call to the operating system fails: a typed error, nothing acknowledged is lost, the next opening goes on.

Sweeps: the first call of a kind fails, then the second, and so on until there is none left. What the engine asks for
without the C library (fallocate, flock, mmap, madvise) is refused by the kernel itself through seccomp (faults.py).
"""

import errno
import os
import shutil
import signal
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import aresbus
import pytest
from aresbus import DiskFullError, LogPoisonedError, StorageError
from bad_day_support import PATIENCE_SECONDS, child, heard, numbers, refused
from faults import FOR_GOOD, HALF, with_faults
from snapshot_support import read_snapshots

CALLS = ["open", "pread", "pwrite", "fsync", "fdatasync", "rename", "unlink", "mkdir"]
SMALL = {"audit": False, "segment_bytes": 64 * 1024}
BIG = "x" * 4000
EVENTS = 30
STATES = ["absent", "closed", "killed", "torn", "poisoned"]
"""What an opening may find."""
LIFE = 36
"""Events of one life: enough for two rolls."""


def make_state(path: Path, state: str, faults) -> None:
    """Made by a process that is killed, or has closed its log."""
    if state == "absent":
        return
    pid = os.fork()
    if pid == 0:
        log = aresbus.open(path / state, **SMALL)
        for number in range(EVENTS):
            log.append("note", [number, BIG], aggregate_id="a")
        log.sync()
        if state == "poisoned":
            faults.arm("fdatasync", "/segments/")
        if state in {"poisoned", "closed"}:
            with suppress(LogPoisonedError):
                log.close()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    if state == "torn":
        newest = max((path / state / "segments").glob("*.log"))
        with newest.open("r+b") as file:
            file.seek(-64, 2)
            file.write(b"torn" * 8)


def refuses(act) -> bool:
    """Whether it raised; then as an error of ours that says what the system said."""
    try:
        act()
    except StorageError as caught:
        error = caught
    else:
        return False
    assert error.errno in {errno.EIO, errno.ENOSPC, errno.EMFILE}, repr(error)
    assert error.path is not None or isinstance(error, LogPoisonedError)
    assert type(error) in {StorageError, DiskFullError, LogPoisonedError}, repr(error)
    return True


@pytest.mark.parametrize("call", CALLS)
@with_faults
def test_an_opening_of_which_any_call_fails_changes_nothing_acknowledged(tmp_path, faults, call):
    refusals = 0
    for state in STATES:
        events = 0 if state == "absent" else EVENTS
        make_state(tmp_path, state, faults)
        for at in count():
            log = tmp_path / f"log-{state}-{at}"
            if events:
                shutil.copytree(tmp_path / state, log)
            error = [errno.EIO, errno.ENOSPC, errno.EMFILE][at % 3]
            faults.arm(call, f"/{log.name}", skip=at, count=1, error=error)
            is_refused = refuses(lambda log=log: aresbus.open(log, **SMALL).close())
            is_over = not faults.failed
            faults.disarm()
            # The other copy of META serves, a spare in nobody's way may stay, the keeper prepares its next one later.
            assert not (is_refused and is_over), (state, at)
            refusals += is_refused
            check_opening(log, events)
            shutil.rmtree(log)
            if is_over:
                break
    assert refusals > len(STATES) - 2 or call == "unlink"


def check_opening(log, events) -> None:
    """Once the fault is over the log opens, whole, and goes on."""
    with aresbus.open(log, **SMALL) as opened:
        assert [event.data[0] for event in opened.read()] == list(range(events))
        assert opened.append("note", [events, ""], aggregate_id="a").aggregate_version == events
        assert opened.verify()["findings"] == []
    assert aresbus.verify(log)["findings"] == []


@pytest.mark.parametrize("call", ["open", "pwrite", "fsync", "fdatasync", "rename"])
@with_faults
def test_a_life_in_which_any_call_fails_keeps_what_it_acknowledged(tmp_path, faults, call):
    """Once, and for good."""
    for failures in (1, FOR_GOOD):
        for at in count():
            log = tmp_path / f"log-{failures}-{at}"
            faults.arm(call, f"/{log.name}/", skip=at, count=failures)
            acknowledged = live(log)
            is_over = not faults.failed
            faults.disarm()
            check_life(log, acknowledged)
            shutil.rmtree(log, ignore_errors=True)
            if is_over:
                assert acknowledged == list(range(LIFE))
                break
        assert at > 0


def check_life(log, acknowledged) -> None:
    """All that was acknowledged is there; each event once."""
    if not log.joinpath("META").exists():
        assert acknowledged == []
        return
    with aresbus.open(log, **SMALL) as opened:
        stored = [event.data[0] for event in opened.read()]
    assert sorted(set(stored)) == stored, "an event twice"
    assert set(acknowledged) <= set(stored), "an acknowledged event is gone"
    assert aresbus.verify(log)["findings"] == []


def live(path) -> list[int]:
    """Open, append through some rolls in every mode, sync, close; the numbers that were acknowledged."""
    acknowledged = []
    try:
        log = aresbus.open(path, **SMALL)
    except StorageError:
        return acknowledged
    for number in range(0, LIFE, 3):
        with suppress(StorageError):
            log.append("note", [number, BIG], durability=["none", "interval", "group", "always"][number % 4])
            acknowledged.append(number)
        with suppress(StorageError):
            log.append_many([("note", [number + 1, ""]), ("note", [number + 2, BIG])])
            acknowledged += [number + 1, number + 2]
    with suppress(StorageError):
        log.sync()
    with suppress(StorageError):
        assert set(acknowledged) <= {event.data[0] for event in log.read()}
    with suppress(StorageError):
        log.close()
    assert log.is_closed
    return acknowledged


@pytest.mark.parametrize("how", [errno.EINTR, HALF], ids=["interrupted", "short"])
@with_faults
def test_interrupted_and_short_calls_are_repeated_and_nobody_hears_of_them(tmp_path, faults, how):
    for call in ("pread", "pwrite", *(["open", "fsync", "fdatasync"] if how == errno.EINTR else [])):
        log = tmp_path / call
        faults.arm(call, f"/{call}", count=40, error=how)
        assert live(log) == list(range(LIFE))
        with aresbus.open(log, **SMALL) as opened:
            assert opened.recovery["clean"]
            assert [event.data[0] for event in opened.read()] == list(range(LIFE))
        assert faults.failed > 10
        faults.disarm()
        assert aresbus.verify(log)["findings"] == []


@with_faults
def test_a_spare_that_cannot_be_prepared_costs_nothing_but_the_roll(tmp_path, faults):
    with aresbus.open(tmp_path / "log", **SMALL) as log:
        log.append("note", [0, BIG])
        faults.arm("rename", "/segments/")
        stored = 1
        with pytest.raises(StorageError) as caught:
            while True:
                log.append("note", [stored, BIG])
                stored += 1
        assert (caught.value.errno, caught.value.committed) == (errno.EIO, False)
        assert log.poisoned is None
        wait_until(lambda: not log.stats()["healthy"])
        assert log.append("note", [stored, ""]).seq == stored, "what still fits is taken"
        faults.disarm()
        for number in range(stored + 1, stored + 50):
            assert log.append("note", [number, BIG], durability="group").seq == number
    assert [number for number, _ in numbers(tmp_path / "log")] == list(range(stored + 50))


@with_faults
def test_a_snapshot_that_cannot_be_stored_leaves_the_one_before_and_poisons_nothing(tmp_path, faults):
    with aresbus.open(tmp_path / "log", **SMALL) as log:
        log.append("note", 0)
        log._write_snapshot("a", 0, b"first", 2)
        for call in ("open", "pwrite", "fsync", "rename"):
            for at in count():
                faults.arm(call, "/snapshots", skip=at, count=1)
                is_refused = refuses(lambda at=at: log._write_snapshot("a", at + 1, b"next", 2))
                is_over = not faults.failed
                faults.disarm()
                assert is_refused != is_over
                assert read_snapshots(log, "a")[-1][1] is not None
                if is_over:
                    break
        assert log.poisoned is None
        assert log.append("note", 1, durability="always").seq == 1
        assert log.verify()["findings"] == []


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


REFUSED = [
    ("fallocate", errno.EIO, {}),
    ("fallocate", errno.ENOSPC, {}),
    ("fallocate", errno.EDQUOT, {}),
    ("flock", errno.ENOLCK, {}),
    ("mmap", errno.ENOMEM, {"argument": 3, "bits": 1}),  # MAP_SHARED, which only the engine asks for
]


@pytest.mark.parametrize(("call", "error", "how"), REFUSED, ids=[f"{one[0]}-{one[1]}" for one in REFUSED])
@with_faults
def test_what_the_kernel_refuses_is_a_typed_error(tmp_path, faults, call, error, how):
    aresbus.open(tmp_path / "closed", **SMALL).close()
    log = aresbus.open(tmp_path / "open", **SMALL)
    log.append("note", [0, BIG])
    faults.refuse(call, error, **how)
    kind = DiskFullError if error in {errno.ENOSPC, errno.EDQUOT} else StorageError
    for path in (tmp_path / "closed", tmp_path / "new"):
        if (call, path.name) != ("fallocate", "closed"):
            with pytest.raises(kind) as caught:
                aresbus.open(path, **SMALL).close()
            assert caught.value.errno in {error, errno.ENOSPC}
    if call != "flock":
        stored = 1
        with pytest.raises(kind) as caught:
            while True:
                log.append("note", [stored, BIG])
                stored += 1
        assert not caught.value.committed
        assert log.append("note", [stored, ""]).seq == stored
    if call == "mmap":
        with pytest.raises(StorageError) as caught:
            list(log.read())
        assert caught.value.errno == error
    else:
        assert len(list(log.read())) == log.last_seq + 1
    assert log.sync() == log.last_seq
    log.close()


@with_faults
def test_a_kernel_that_cannot_populate_pages_is_only_slower(tmp_path, faults):
    faults.refuse("madvise", errno.EINVAL)
    assert live(tmp_path / "log") == list(range(LIFE))
    assert [number for number, _ in numbers(tmp_path / "log")] == list(range(LIFE))


@with_faults
def test_a_reader_names_what_it_could_not_read_and_reads_it_once_it_can(tmp_path, faults):
    with child("fill_some", tmp_path / "log") as writer:
        heard(writer)
        for call in ("open", "pread"):
            for at in count():
                faults.arm(call, "/log", skip=at, count=1)
                refuses(lambda: read_all(tmp_path / "log"))
                if not faults.failed:
                    break
                faults.disarm()
            assert at > 1
        with refused(aresbus.LogLockedError):
            aresbus.open(tmp_path / "log", audit=False)


def read_all(path) -> None:
    with aresbus.open(path, mode="r") as log:
        assert len(list(log.read())) == 100
        assert log.aggregate_version("a") == 99
