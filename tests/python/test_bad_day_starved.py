"""A keeper that gets no turn: the disk takes long over a sync, or the whole process is stopped and goes on later.

That a keeper which dies wakes everybody with the error is shown by tests/rust/shuttle.rs, what a failed sync does by test_kernel_sync_failure.py.
"""

import asyncio
import signal
import time

import aresbus
import pytest
from aresbus import EnhancedEventBus, HealthLimits
from bad_day_support import child, heard, heard_out
from bus_support import run, until
from faults import with_faults
from test_bad_day_exit import CHILDREN, ENOUGH, check_log

SLOW_MS = 1_500
STOPPED_SECONDS = 1.5
LIMITS = HealthLimits(
    disk_low_bytes=0,
    disk_critical_bytes=0,
    disk_low_days=0,
    sync_seconds=0.5,
    durable_seconds=0.5,
    recent_seconds=0.5,
)


@with_faults
def test_a_disk_that_takes_long_is_told_held_against_nobody_and_forgotten(tmp_path, faults):
    """The loop turns and publishing goes on; only who wants durability waits."""

    async def act():
        settings = {"storage_path": str(tmp_path / "log"), "audit_trail": False, "processing_interval": 0.01}
        bus = EnhancedEventBus({"event_bus": settings}, strict=True, health_limits=LIMITS)
        seen = []
        bus.subscribe("risk_alert", lambda event: seen.append(event.data))
        async with bus:
            await bus.publish("risk_alert", 0, durability="group")
            assert bus.check_health().status == "healthy"
            faults.delay("fdatasync", "/log/segments/", SLOW_MS)
            waiting = asyncio.create_task(bus.publish("risk_alert", 1, durability="group"))
            await until(lambda: faults.failed == 1)
            await bus.publish("risk_alert", 2)
            await until(lambda: seen == [0, 1, 2])
            assert not waiting.done()
            await until(lambda: bus.check_health().checks["durability"].status == "degraded")
            assert "nothing became durable for" in bus.check_health().checks["durability"].reason
            await waiting
            await until(lambda: bus.check_health().checks["durability"].status == "healthy")
            await until(lambda: "a sync of the disk took" in bus.check_health().checks["sync"].reason)
            await until(lambda: bus.check_health().status == "healthy")
            assert bus.log.durable_seq >= 1

    run(act())


@with_faults
def test_a_close_waits_for_it_and_a_bounded_wait_does_not(tmp_path, faults):
    log = aresbus.open(tmp_path / "log", audit=False, durability="none")
    log.append("note", 0)
    faults.delay("fdatasync", "/log/segments/", SLOW_MS)
    assert not log.wait_durable(0, timeout=0.05)
    log.close()
    assert faults.failed == 1
    with aresbus.open(tmp_path / "log", mode="r") as reader:
        assert (reader.durable_seq, reader.recovery["clean"]) == (0, True)


@pytest.mark.parametrize("act", ["wait_for_signal", "exit_on_signal"])
def test_a_process_that_is_stopped_goes_on_where_it_was(tmp_path, act):
    """Its threads append in every mode; some wait for a sync that comes when they are let go on."""
    with child(act, tmp_path / "log", script=CHILDREN) as process:
        said = "".join(heard(process) + "\n" for _ in range(ENOUGH))
        process.send_signal(signal.SIGSTOP)
        with aresbus.open(tmp_path / "log", mode="r") as reader:
            assert reader.last_seq >= ENOUGH - 1  # who stands still holds up no reader
            with pytest.raises(aresbus.LogLockedError):
                aresbus.open(tmp_path / "log")
        time.sleep(STOPPED_SECONDS)  # the stillness is the subject
        process.send_signal(signal.SIGCONT)
        said += "".join(heard(process) + "\n" for _ in range(20 * ENOUGH))
        process.send_signal(signal.SIGTERM)
        rest, noise = heard_out(process)
    assert noise == ""
    check_log(tmp_path / "log", said + rest, is_clean=act == "exit_on_signal")
