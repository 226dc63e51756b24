"""A sync that fails: no append after it, every waiter told, reads go on, and the next opening believes only the disk.

The syncs fail in a shim between the engine and the C library (faults.py); test_kernel_real_disk.py has the same from a
device that really refuses. Under the shim the bytes themselves are not lost: what power loss would take is the simulated
disk's to show (cargo test --test recovery).
"""

import asyncio
import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import aresbus
import pytest
from aresbus import DiskFullError, EnhancedEventBus, LogClosedError, LogPoisonedError, VersionConflictError
from bad_day_support import numbers, refused
from bus_support import run, until
from faults import with_faults

SEGMENTS = "/log/segments/"
EAGER = {"audit": False, "sync_interval_ms": 1}
PATIENCE_SECONDS = 20
DURABLE = ["group", "always"]


def broken_log(path, faults, *, count=3, error=errno.EIO, **options):
    """A log of ``count`` durable events, whose next syncs fail for good."""
    log = aresbus.open(path / "log", **(EAGER | options))
    for number in range(count):
        log.append("note", number, aggregate_id="a")
    assert log.sync() == count - 1
    faults.arm("fdatasync", SEGMENTS, error=error)
    return log


def poisoned(log):
    """Wait until the keeper has met the failing sync."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while log.poisoned is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert log.poisoned is not None
    return log


def close_in_vain(log):
    with refused(LogPoisonedError, reason=log.poisoned, committed=False):
        log.close()
    assert log.is_closed
    log.close()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@with_faults
def test_after_a_failed_sync_every_append_is_refused_and_reading_goes_on(tmp_path, faults, error):
    log = broken_log(tmp_path, faults, error=error)
    with aresbus.open(tmp_path / "log", mode="r") as reader:
        log.append("note", 3, aggregate_id="a")
        poisoned(log)
        assert f"os error {error}" in log.poisoned
        assert SEGMENTS in log.poisoned
        for act in (
            lambda: log.append("note", 4),
            lambda: log.append("note", 4, durability="none"),
            lambda: log.append_bytes("note", b""),
            lambda: log.append_many([("note", 4), ("note", 5)]),
            log.sync,
            lambda: log.wait_durable(3),
        ):
            with refused(LogPoisonedError, "os error", reason=log.poisoned, committed=False, seq=None):
                act()
        for handle in (log, reader):
            assert [event.data for event in handle.read()] == [0, 1, 2, 3]
            assert [event.data for event in handle.follow(timeout=0)] == [0, 1, 2, 3]
            assert handle.aggregate_version("a") == 3
            assert handle.last_seq == 3
            assert handle.verify()["findings"] == []
        assert log.durable_seq == 2
        assert log.wait_durable(2)
        stats = log.stats()
        assert not stats["healthy"]
        assert stats["problem"] == log.poisoned
        close_in_vain(log)
        assert [event.data for event in reader.read()] == [0, 1, 2, 3]


@pytest.mark.parametrize("durability", DURABLE)
@with_faults
def test_the_append_that_met_it_says_that_its_event_stands(tmp_path, faults, durability):
    log = broken_log(tmp_path, faults, durability=durability)
    with refused(LogPoisonedError, "is committed", committed=True, seq=3, event_id="mine"):
        log.append("note", 3, event_id="mine")
    (event,) = log.read(after=2)
    assert (event.seq, event.event_id, event.data) == (3, "mine", 3)
    with refused(LogPoisonedError, committed=False, seq=None):
        log.append("note", 4)
    close_in_vain(log)


@pytest.mark.parametrize("durability", DURABLE)
@with_faults
def test_a_batch_that_met_it_stands_as_a_whole(tmp_path, faults, durability):
    log = broken_log(tmp_path, faults)
    with refused(LogPoisonedError, committed=True, seq=5):
        log.append_many([("note", number) for number in (3, 4, 5)], durability=durability)
    assert [event.data for event in log.read()] == [0, 1, 2, 3, 4, 5]
    close_in_vain(log)


@pytest.mark.parametrize("durability", DURABLE)
@with_faults
def test_a_conflict_does_not_cite_what_could_not_be_made_durable(tmp_path, faults, durability):
    log = broken_log(tmp_path, faults, durability=durability)
    with suppress(LogPoisonedError):
        log.append("note", 3, aggregate_id="a")
    with refused(LogPoisonedError):
        log.append("note", 4, aggregate_id="a", expected_version=0)
    faults.disarm()
    with suppress(LogPoisonedError):
        log.close()
    with aresbus.open(tmp_path / "log", durability=durability, **EAGER) as log:
        with pytest.raises(VersionConflictError) as caught:
            log.append("note", 4, aggregate_id="a", expected_version=0)
        assert caught.value.conflicting_seq == 3
        assert log.durable_seq == 3


@with_faults
def test_every_thread_that_waits_is_told(tmp_path, faults):
    log = broken_log(tmp_path, faults)

    def act(number):
        with pytest.raises(LogPoisonedError) as caught:
            while True:
                log.append("note", number, durability="group", event_id=f"of {number}")
                number += 100
        return caught.value

    with ThreadPoolExecutor(9) as pool:
        waiting = pool.submit(log.wait_durable, 1_000_000)
        errors = list(pool.map(act, range(8)))
        with refused(LogPoisonedError, committed=False) as caught:
            waiting.result(PATIENCE_SECONDS)
        assert caught.value.reason == log.poisoned
    events = {event.seq: event.event_id for event in log.read(after=2)}
    told = {error.seq: error.event_id for error in errors if error.committed}
    assert told == events, "who was told that its event stands finds it, and nobody else left one"
    assert {error.reason for error in errors} == {log.poisoned}
    close_in_vain(log)


@with_faults
def test_every_coroutine_that_waits_is_told_and_handlers_get_what_stands(tmp_path, faults):
    async def act():
        bus = EnhancedEventBus(
            {"event_bus": {"storage_path": str(tmp_path / "log"), "audit_trail": False}},
            log_options={"durability": "group"},
            strict=True,
        )
        seen = []
        bus.subscribe("risk_alert", lambda event: seen.append(event.data))
        await bus.initialize()
        await bus.publish("risk_alert", 0)
        faults.arm("fdatasync", SEGMENTS)
        outcomes = await asyncio.gather(
            *(bus.publish("risk_alert", number) for number in range(1, 6)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {LogPoisonedError}
        for outcome in outcomes:
            assert not outcome.committed or f"{outcome.event_id} at seq {outcome.seq} is committed" in str(
                outcome
            )
        stored = [event.event_id for event in bus.log.read(after=0)]
        assert [outcome.event_id for outcome in outcomes if outcome.committed] == stored
        with refused(LogPoisonedError, committed=False):
            await bus.publish("risk_alert", 6)
        assert len(await bus.replay_events()) == 1 + len(stored)
        worker = asyncio.create_task(bus.run())
        await until(lambda: len(seen) == 1 + len(stored))
        with suppress(LogPoisonedError):
            await bus.stop()
        await asyncio.wait([worker])
        assert isinstance(bus.last_error, LogPoisonedError)
        return 1 + len(stored)

    stored = run(act())
    faults.disarm()
    assert len(numbers(tmp_path / "log")) == stored


@with_faults
def test_the_reason_is_the_first_one_and_a_healed_disk_does_not_heal_the_handle(tmp_path, faults):
    log = broken_log(tmp_path, faults)
    log.append("note", 3)
    reason = poisoned(log).poisoned
    faults.arm("*", SEGMENTS, error=errno.ENOSPC)
    for _ in range(3):
        with refused(LogPoisonedError, reason=reason):
            log.sync()
    faults.disarm()
    with refused(LogPoisonedError, reason=reason):
        log.append("note", 4)
    close_in_vain(log)


@with_faults
def test_opening_again_recovers_everything_and_goes_on_in_a_new_epoch(tmp_path, faults):
    log = broken_log(tmp_path, faults)
    with refused(LogPoisonedError, committed=True, seq=3):
        log.append("note", 3, durability="always", aggregate_id="a")
    with refused(aresbus.LogLockedError):
        aresbus.open(tmp_path / "log", audit=False)
    close_in_vain(log)
    with refused(LogClosedError):
        log.append("note", 4)
    faults.arm("fsync", SEGMENTS)
    for _ in range(2):
        with pytest.raises(aresbus.StorageError) as caught:
            aresbus.open(tmp_path / "log", **EAGER)
        assert caught.value.errno == errno.EIO, (
            "the survivors are written once more, and that must reach the disk"
        )
    faults.disarm()
    with aresbus.open(tmp_path / "log", **EAGER) as log:
        assert not log.recovery["clean"], "a failed sync leaves no clean mark"
        assert log.epoch == 2
        assert log.durable_seq == 3, "what recovery kept is durable"
        assert log.append("note", 4, aggregate_id="a", expected_version=3).seq == 4
    assert numbers(tmp_path / "log") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("call", ["fdatasync", "pwrite"])
@pytest.mark.parametrize("count", [0, 5])
@with_faults
def test_a_sync_that_fails_at_close_leaves_no_clean_mark(tmp_path, faults, call, count):
    log = aresbus.open(tmp_path / "log", audit=False, durability="none", segment_bytes=64 * 1024)
    for number in range(count):
        log.append("note", number)
    faults.arm(call, SEGMENTS)
    with refused(LogPoisonedError, "0000000000000001.log"):
        log.close()
    faults.disarm()
    with aresbus.open(tmp_path / "log", audit=False) as log:
        assert not log.recovery["clean"]
        assert [event.data for event in log.read()] == list(range(count))


@with_faults
def test_a_clean_mark_that_cannot_be_stored_is_said(tmp_path, faults):
    log = broken_log(tmp_path, faults)
    faults.arm("fdatasync", "/META", error=errno.ENOSPC)
    with refused(DiskFullError, tmp_path / "log" / "META", errno=errno.ENOSPC):
        log.close()
    assert log.is_closed
    faults.disarm()
    with aresbus.open(tmp_path / "log", audit=False) as log:
        assert [event.data for event in log.read()] == [0, 1, 2]


@with_faults
def test_a_watermark_that_cannot_be_written_poisons_too(tmp_path, faults):
    log = broken_log(tmp_path, faults)
    faults.arm("pwrite", SEGMENTS)
    log.append("note", 3)
    with refused(LogPoisonedError, "writing the watermark"):
        while True:
            log.sync()
            log.append("note", 4)
    assert log.wait_durable(2)
    close_in_vain(log)


@with_faults
def test_a_sync_that_fails_once_poisons_as_one_that_fails_for_good(tmp_path, faults):
    log = broken_log(tmp_path, faults)
    faults.arm("fdatasync", SEGMENTS, count=1)
    with refused(LogPoisonedError, committed=True, seq=3):
        log.append("note", 3, durability="always")
    with refused(LogPoisonedError, committed=False):
        log.append("note", 4, durability="always")
    assert faults.failed == 1
    assert log.durable_seq == 2, "the sync after a failed one proves nothing"
    close_in_vain(log)


@with_faults
def test_an_interrupted_sync_is_repeated(tmp_path, faults):
    log = broken_log(tmp_path, faults)
    faults.arm("fdatasync", SEGMENTS, count=7, error=errno.EINTR)
    assert log.append("note", 3, durability="always").seq == 3
    assert faults.failed == 7
    assert log.durable_seq == 3
    log.close()


@with_faults
def test_a_handle_that_is_dropped_poisoned_frees_the_log(tmp_path, faults):
    log = broken_log(tmp_path, faults)
    log.append("note", 3)
    poisoned(log)
    del log
    faults.disarm()
    assert threading.active_count() == 1
    with aresbus.open(tmp_path / "log", audit=False) as log:
        assert log.last_seq == 3


@with_faults
def test_an_audit_trail_that_cannot_be_stored_refuses_the_opening(tmp_path, faults):
    aresbus.open(tmp_path / "log").close()
    faults.arm("fdatasync", "/audit/segments/")
    with pytest.raises(aresbus.StorageError) as caught:
        aresbus.open(tmp_path / "log")
    assert caught.value.errno == errno.EIO
    faults.disarm()
    with aresbus.open(tmp_path / "log") as log:
        faults.arm("fdatasync", "/audit/segments/")
        with pytest.raises(LogPoisonedError):
            log.close()
        assert log.is_closed
    faults.disarm()
    with aresbus.open(tmp_path / "log") as log:
        assert log.recovery["clean"], "the log itself was closed"
