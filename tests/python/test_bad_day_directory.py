"""The log's directory is deleted, moved away, or replaced under those who have it open.

What was acknowledged as durable is in the files that the writer has open, wherever they are now; where they are nowhere
any more, nothing is acknowledged as durable. Nobody hangs, and another log in the same place is left alone.
"""

import shutil
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path

import aresbus
import pytest
from aresbus import LogClosedError, LogPoisonedError, StorageError
from bad_day_support import PATIENCE_SECONDS, check_error, contents, make_log, numbers
from bus_support import make_bus, run, until
from test_bad_day_writers import threads_of_ours

SMALL = {"segment_bytes": 1 << 16}


def delete(path) -> None:
    """All of it; a writer may be making a file there meanwhile."""
    while Path(path).exists():
        shutil.rmtree(path, ignore_errors=True)


def appended_until_refused(log, **options) -> tuple[int, StorageError]:
    """The last acknowledged position, and what refused the next event; the log has room for a few segments."""
    last = log.last_seq
    try:
        for number in count():
            last = log.append("note", [number, "x" * 500], aggregate_id="a", **options).seq
    except StorageError as error:
        return last, error


@pytest.fixture
def log(tmp_path):
    """Open for writing, a hundred events in; closed however the test leaves it."""
    log = aresbus.open(tmp_path / "log", **SMALL)
    for number in range(100):
        log.append("note", [number, "x" * 500], aggregate_id="a")
    yield log
    with suppress(StorageError):
        log.close()


@pytest.mark.parametrize("durability", ["interval", "group", "always"])
@pytest.mark.parametrize("what", ["", "segments"])
def test_deleted_nothing_more_is_durable_and_the_log_says_why(log, what, durability):
    delete(Path(log.path, what))
    with pytest.raises(LogPoisonedError) as caught:
        log.append("note", 1, durability="group")
    check_error(caught.value, LogPoisonedError, "the file was removed while the log was being written")
    durable = log.durable_seq
    with pytest.raises(LogPoisonedError):
        log.append("note", 1, durability=durability)
    with pytest.raises(LogPoisonedError):
        log.wait_durable(log.last_seq)
    assert log.durable_seq == durable
    assert log.poisoned
    with pytest.raises(StorageError):
        log.close()
    assert log.is_closed
    assert not threads_of_ours()  # nor does its audit trail, in which neither could be recorded, keep any


def test_deleted_an_append_without_durability_is_refused_once_a_sync_has_found_out(log):
    delete(log.path)
    _, error = appended_until_refused(log)
    assert isinstance(error, StorageError)
    with pytest.raises(LogPoisonedError):
        while True:
            log.wait_durable(log.last_seq, 0.01)
            log.append("note", 1)


def test_every_thread_that_waits_is_told(log):
    """Waiting for an event that a sync will never bring about."""
    delete(log.path)
    outcomes = []

    def wait():
        try:
            log.append("note", 1, durability="group")
        except LogPoisonedError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(outcomes) == 5


def test_moved_what_was_acknowledged_is_where_the_files_are_now(log, tmp_path):
    Path(log.path).rename(tmp_path / "elsewhere")
    last, error = appended_until_refused(log, durability="group")
    assert last > 99
    check_error(error, StorageError, "No such file or directory")
    assert log.poisoned is None
    with pytest.raises(StorageError):
        log.close()
    assert log.is_closed
    with aresbus.open(tmp_path / "elsewhere") as moved:
        assert moved.last_seq >= last
        assert [event.seq for event in moved.read()] == list(range(moved.last_seq + 1))


def test_moved_and_brought_back_it_goes_on(log, tmp_path):
    place = log.path
    Path(place).rename(tmp_path / "elsewhere")
    last, _ = appended_until_refused(log)
    (tmp_path / "elsewhere").rename(place)
    assert log.append("note", 1, durability="group").seq == last + 1
    log.close()
    assert len(numbers(place)) == last + 2


@pytest.mark.parametrize("how", ["filled", "closed", "retention", "snapshot"])
def test_another_log_in_its_place_is_left_alone(log, tmp_path, how):
    place = log.path
    Path(place).rename(tmp_path / "elsewhere")
    make_log(place)
    before = contents(place)
    if how == "filled":
        last, error = appended_until_refused(log, durability="group")
        check_error(error, LogPoisonedError, "LOCK is not the file that was locked")
    elif how == "retention":
        last = log.last_seq
        with pytest.raises(LogPoisonedError):
            log.apply_retention(log.retention_plan(aresbus.RetentionPolicy(max_events=1)))
    elif how == "snapshot":
        last = log.last_seq
        with pytest.raises(LogPoisonedError):
            log._write_snapshot("a", 1, b"{}", 1)
    else:
        last = log.last_seq
    with pytest.raises(LogPoisonedError):
        log.close()
    assert contents(place) == before | ({"holds/LOCK": b""} if how == "retention" else {})
    assert numbers(place) == [0, 1, 2, 3, 4]
    with aresbus.open(place) as other:
        assert other.recovery["clean"]
        assert other.verify()["findings"] == []
    # One that was refused may be committed all the same; its error says so.
    assert len(numbers(tmp_path / "elsewhere")) in {last + 1, last + 2}


def test_a_log_that_is_only_being_made_in_its_place_is_left_alone(log, tmp_path):
    """Its directories are there, and no LOCK yet."""
    place = Path(log.path)
    place.rename(tmp_path / "elsewhere")
    (place / "segments").mkdir(parents=True)
    _, error = appended_until_refused(log)
    check_error(error, LogPoisonedError, "another writer began there")
    with pytest.raises(StorageError):
        log.close()
    assert not any((place / "segments").iterdir())


def test_a_second_writer_that_a_removed_lock_file_let_in_ends_the_first(log):
    """The second one recovers under the first one's feet; of the two one must stop."""
    Path(log.path, "LOCK").unlink()
    with aresbus.open(log.path, audit=False) as second:
        _, error = appended_until_refused(log)
        check_error(error, LogPoisonedError, "another writer began there")
        second.append("note", "second", durability="group")
        assert [event.seq for event in second.read()] == list(range(second.last_seq + 1))


def test_without_its_lock_file_alone_it_goes_on(log):
    Path(log.path, "LOCK").unlink()
    for number in range(1_000):
        log.append("note", [number, "x" * 500])
    log.close()
    assert len(numbers(log.path)) == 1_100


@pytest.mark.parametrize("how", ["deleted", "moved"])
@pytest.mark.parametrize("call", ["read", "follow", "wait", "last_seq", "aggregate_version"])
def test_a_reader_is_told(log, tmp_path, how, call):
    log.sync()
    calls = {
        "read": lambda reader: list(reader.read()),
        "follow": lambda reader: list(reader.follow(50, timeout=0.5)),
        "wait": lambda reader: reader.wait(10_000, 0.5),
        "last_seq": lambda reader: reader.last_seq,
        "aggregate_version": lambda reader: reader.aggregate_version("a"),
    }
    with aresbus.open(log.path, mode="r") as reader:
        assert reader.last_seq == 99
        if how == "deleted":
            delete(log.path)
        else:
            Path(log.path).rename(tmp_path / "elsewhere")
        with pytest.raises(StorageError) as caught:
            calls[call](reader)
        check_error(caught.value, StorageError, "No such file or directory", log.path)
    with pytest.raises(FileNotFoundError):
        aresbus.open(log.path, mode="r")


def test_a_running_bus_says_so_and_stops(tmp_path, caplog):
    async def act():
        settings = {"processing_interval": 0.005, "health_check_interval": 0.001}
        async with make_bus(tmp_path / "log", **settings) as bus:
            seen = []
            bus.subscribe("risk_alert", seen.append)
            await bus.publish("risk_alert", 0, durability="group")
            delete(tmp_path / "log")
            with pytest.raises(LogPoisonedError):
                await bus.publish("risk_alert", 1, durability="group")
            await until(lambda: "health: disk is unhealthy" in caplog.text)
            assert bus.get_status()["last_error"]
            with pytest.raises(LogPoisonedError):
                await bus.publish("risk_alert", 2)
        with pytest.raises(LogClosedError):
            await bus.publish("risk_alert", 3)
        assert [event.data for event in seen][:1] == [0]

    with pytest.raises(StorageError):
        run(act())


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_bus_that_reads_ends_its_run_with_the_error(tmp_path, how):
    make_log(tmp_path / "log")

    async def act():
        bus = make_bus(tmp_path / "log", mode="r", processing_interval=0.005)
        seen = []
        bus.subscribe("*", seen.append, after="start")
        async with bus:
            await until(lambda: len(seen) == 5)
            if how == "deleted":
                delete(tmp_path / "log")
            else:
                (tmp_path / "log").rename(tmp_path / "elsewhere")
            await until(lambda: not bus.is_running)

    with pytest.raises(StorageError, match="No such file"):
        run(act())
