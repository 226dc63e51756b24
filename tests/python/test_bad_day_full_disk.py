"""A full disk: appends while there is room, then DiskFullError; reading goes on, nothing acknowledged goes, room mends it.

Each test fills a small file system of its own; a ballast file stands for what an operator deletes.
"""

import asyncio
import errno
import shutil
from contextlib import suppress
from pathlib import Path

import aresbus
import pytest
from aresbus import DiskFullError, EnhancedEventBus
from aresbus.testing import settled
from bad_day_support import (
    Mount,
    aresbus_command,
    aresbus_process,
    check_error,
    child,
    heard,
    numbers,
    refused,
)
from bus_support import make_bus, run, until

SMALL = {"segment_bytes": 64 * 1024, "sealing": "off"}
BIG = "x" * 4000
MIB = 1024 * 1024


@pytest.fixture
def disk(tmp_path, request):
    """3 MiB, or as many as the test asks for."""
    made = Mount(tmp_path / "disk", f"{getattr(request, 'param', 3)}m")
    yield made.path
    made.unmount()


@pytest.fixture
def ballast(disk):
    """A third of it is taken by what can be deleted."""
    file = disk / "ballast"
    file.write_bytes(bytes(shutil.disk_usage(disk).total // 3))
    return file


def take_the_rest(disk) -> Path:
    """Not a byte is left."""
    rest = disk / "rest"
    while shutil.disk_usage(disk).free:
        with rest.open("ab", buffering=0) as file, suppress(OSError):
            file.write(bytes(4096))
    return rest


def fill(log) -> int:
    """Append until the disk is full; how many were acknowledged."""
    count = 0
    with pytest.raises(DiskFullError):
        while True:
            log.append("note", [count, BIG], aggregate_id="a")
            count += 1
    return count


def firsts(path) -> list[int]:
    return [number for number, _ in numbers(path)]


def test_appends_go_on_while_room_is_left_then_the_error_says_what_and_where(disk, ballast):
    with aresbus.open(disk / "log", audit=False, **SMALL) as log:
        count = fill(log)
        assert count * len(BIG) > 1.5 * MIB, "most of the disk holds events"
        with refused(
            DiskFullError, disk / "log" / "segments", errno=errno.ENOSPC, committed=False, seq=None
        ) as caught:
            log.append("note", [count, BIG])
        assert isinstance(caught.value, OSError)
        assert "disk space" in str(caught.value)
        small = log.append("note", [count, ""])
        assert small.seq == count, "what still fits into the active segment is taken"
        assert [event.data[0] for event in log.read()] == list(range(count + 1))
        assert log.sync() == count
        assert log.verify()["findings"] == []
        assert log.aggregate_version("a") == count - 1
        assert log.poisoned is None
        stats = log.stats()
        assert not stats["healthy"]
        assert "full" in stats["problem"]
    assert firsts(disk / "log") == list(range(count + 1))


def test_appends_go_on_by_themselves_once_there_is_room(disk, ballast):
    with aresbus.open(disk / "log", audit=False, **SMALL) as log:
        count = fill(log)
        ballast.unlink()
        more = fill_from(log, count)
        assert more > 100
        assert log.stats()["epoch"] == 1
    assert firsts(disk / "log") == list(range(count + more))


def fill_from(log, first) -> int:
    count = 0
    try:
        while True:
            log.append("note", [first + count, BIG])
            count += 1
    except DiskFullError:
        return count


def test_a_batch_is_all_or_nothing_there_too(disk, ballast):
    with aresbus.open(disk / "log", audit=False, **SMALL) as log:
        count = fill(log)
        with refused(DiskFullError, committed=False):
            log.append_many([("note", [count, ""]), ("note", [count + 1, BIG * 10])])
        assert log.last_seq == count - 1
        ballast.unlink()
        receipts = log.append_many([("note", [count, ""]), ("note", [count + 1, BIG * 10])])
        assert [receipt.seq for receipt in receipts] == [count, count + 1]


@pytest.mark.parametrize("durability", ["group", "always"])
def test_a_durable_append_is_refused_before_it_is_committed(disk, ballast, durability):
    with aresbus.open(disk / "log", audit=False, durability=durability, **SMALL) as log:
        count = fill(log)
        assert log.durable_seq == log.last_seq == count - 1


def test_closing_on_a_full_disk_is_clean_and_opening_again_takes_what_fits(disk, ballast):
    with aresbus.open(disk / "log", audit=False, **SMALL) as log:
        count = fill(log)
    with aresbus.open(disk / "log", audit=False, **SMALL) as log:
        assert log.recovery["clean"]
        assert log.append("note", [count, ""]).seq == count
        with refused(DiskFullError):
            log.append("note", [count + 1, BIG * 10])
    assert firsts(disk / "log") == list(range(count + 1))


@pytest.mark.parametrize(
    ("disk", "audit"), [(3, "bare"), (9, "audited")], indirect=["disk"], ids=["bare", "audited"]
)
def test_after_a_kill_it_opens_for_reading_at_once_and_for_writing_once_there_is_room(
    tmp_path, disk, ballast, audit
):
    log = disk / "log"
    is_audited = audit == "audited"
    with child("fill", log, audit) as process:
        acknowledged = int(heard(process))
        process.kill()
        process.wait()
    rest = take_the_rest(disk)
    before = firsts(log)
    assert before == list(range(acknowledged))
    for _ in range(3):
        with refused(DiskFullError, log, errno=errno.ENOSPC):
            aresbus.open(log, audit=is_audited, **SMALL)
        assert firsts(log) == before
    assert aresbus_command("verify", log).returncode == 0
    rest.unlink()
    ballast.unlink()
    with aresbus.open(log, audit=is_audited, **SMALL) as writer:
        assert not writer.recovery["clean"]
        assert [event.data[0] for event in writer.read()] == before
        assert writer.append("note", [acknowledged, ""]).seq == acknowledged
        assert writer.verify()["findings"] == []


def test_no_room_for_a_new_log(disk, ballast):
    (disk / "more").write_bytes(bytes(3 * MIB // 2))
    for _ in range(3):
        with refused(DiskFullError, disk / "log", errno=errno.ENOSPC):
            aresbus.open(disk / "log")
    with pytest.raises(FileNotFoundError):
        aresbus.open(disk / "log", mode="r")
    (disk / "more").unlink()
    with aresbus.open(disk / "log", audit=False, **SMALL) as log:
        assert log.append("note", 0).seq == 0


@pytest.mark.parametrize("disk", [6], indirect=True)
def test_the_command_line_stops_says_where_and_what_was_stored_stays(disk, tmp_path):
    text = '%d {"stream":"btcusdt@trade","x":"' + BIG + '"}\n'
    (tmp_path / "feed").write_text("".join(text % line for line in range(2_000)))
    done = aresbus_process("record", tmp_path / "feed", "--log", disk / "log", "--source", "s")
    assert done.returncode == 2
    assert "[AB0002]" in done.stderr
    assert "stopped at line" in done.stderr
    assert "Traceback" not in done.stderr
    with aresbus.open(disk / "log", mode="r") as log:
        stored = sum(1 for _ in log.read())
    assert stored > 100
    assert (
        f"stopped at line {stored + 1}: {stored} events stored, the last at seq {stored - 1}" in done.stderr
    )


# The bus


def crowded_bus(disk, **keywords):
    section = {"storage_path": str(disk / "log"), "audit_trail": False, "snapshot_frequency": 100_000}
    return EnhancedEventBus({"event_bus": section}, log_options=SMALL, **keywords)


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
def test_publish_raises_from_the_await_and_delivers_what_was_stored(disk, ballast, caplog, strict):
    async def act():
        bus, seen = crowded_bus(disk, strict=strict), []
        bus.subscribe("risk_alert", lambda event: seen.append(event.data[0]))
        stored = 0
        async with bus:
            publication = bus.publish("risk_alert", [0, BIG])
            while bus.last_error is None:
                assert await publication
                stored += 1
                publication = bus.publish("risk_alert", [stored, BIG])
            assert "AB0002" in caplog.text, "said at the call"
            with refused(DiskFullError, disk / "log", errno=errno.ENOSPC, committed=False):
                await publication
            check_error(bus.last_error, DiskFullError)
            assert bus.metrics["events_rejected"] == 0, "no fault of the input"
            await until(lambda: len(seen) == stored)
            assert [event.data[0] for event in await bus.replay_events()] == list(range(stored))
            ballast.unlink()
            assert await bus.publish("risk_alert", [stored, BIG])
            await until(lambda: len(seen) == stored + 1)
        assert seen == list(range(stored + 1))
        return stored

    stored = run(act())
    assert firsts(disk / "log") == list(range(stored + 1))


def test_snapshots_fail_aloud_and_stopping_still_works(disk, ballast, caplog):
    async def act():
        bus = crowded_bus(disk)
        await bus.initialize()
        with pytest.raises(DiskFullError):
            for number in range(10_000):
                await bus.publish("performance_update", [number, BIG], aggregate_id="a")
        take_the_rest(disk)
        await settled(bus)
        stored = bus.log.last_seq
        await bus.stop()
        assert "no snapshot of system" in caplog.text
        check_error(bus.last_error, DiskFullError)
        return stored

    stored = run(act())
    assert firsts(disk / "log") == list(range(stored + 1))


def test_a_bus_that_finds_no_room_says_false_and_starts_once_there_is(disk, ballast):
    async def act():
        (disk / "more").write_bytes(bytes(2 * MIB - 64 * 1024))
        bus = crowded_bus(disk)
        assert await bus.initialize() is False
        check_error(bus.last_error, DiskFullError, disk / "log")
        with refused(DiskFullError, disk / "log"):
            await bus.publish("risk_alert", 1)
        with refused(DiskFullError, disk / "log"):
            await make_bus(disk / "log").initialize()
        (disk / "more").unlink()
        assert await bus.initialize()
        assert await asyncio.wait_for(bus.publish("risk_alert", [0, ""]), 5)
        await bus.stop()

    run(act())
    assert firsts(disk / "log") == [0]
