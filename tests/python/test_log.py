"""The audited log: opening, closing and recovery are on record, before and after; closing always frees the lock."""

import gc
import os
import subprocess
import sys
import threading

import aresbus
import pytest
from aresbus import _core
from aresbus.audit import AuditTrail
from bus_support import make_bus, run


def entries(folder):
    """The audit log as (act, phase, outcome) and the whole entries."""
    with _core.Log(folder / "audit", mode="r") as log:
        events = [(event.event_type, event.data, event.correlation_id) for event in log.read()]
    return [(act, data["phase"], data.get("outcome")) for act, data, _ in events], events


OPENED = [("log.open", "intent", None), ("log.open", "outcome", "done")]
CLOSED = [("log.close", "intent", None), ("log.close", "outcome", "done")]


def test_opening_and_closing_are_recorded_with_their_actor(tmp_path):
    aresbus.open(tmp_path, reason="a test").close()
    acts, events = entries(tmp_path)
    assert acts == OPENED + CLOSED
    for _, data, act_id in events:
        assert data["actor"]["pid"] == os.getpid()
        assert data["actor"]["reason"] == "a test"
        assert data["actor"]["package_version"] == aresbus.__version__
        assert data["actor"]["user"]
        assert data["actor"]["host"]
        assert act_id
    assert events[0][2] == events[1][2] != events[2][2]


def test_readers_memory_and_audit_off_record_nothing(tmp_path):
    aresbus.open(tmp_path, audit=False).close()
    aresbus.open(tmp_path, mode="r").close()
    assert not (tmp_path / "audit").exists()
    with aresbus.Log(None) as log:
        assert log.audit_trail is None


def test_a_failed_opening_is_recorded_and_leaves_no_lock(tmp_path):
    aresbus.open(tmp_path).close()
    (tmp_path / "META").write_bytes(b"\xff" * 8192)
    for _ in range(2):
        with pytest.raises(aresbus.StorageError) as caught:
            aresbus.open(tmp_path)
        assert not isinstance(caught.value, aresbus.LogLockedError)
    acts, events = entries(tmp_path)
    assert acts[-2:] == [("log.open", "intent", None), ("log.open", "outcome", "failed")]
    assert type(caught.value).__name__ in events[-1][1]["details"]["error"]


def crash(folder):
    text = "import sys, os, aresbus; log = aresbus.open(sys.argv[1]); log.append('a', 1); os._exit(1)"
    subprocess.run([sys.executable, "-c", text, str(folder)], check=False)


def test_a_recovery_is_recorded_with_its_report(tmp_path):
    crash(tmp_path)
    with aresbus.open(tmp_path) as log:
        assert not log.recovery["clean"]
        assert log.last_seq == 0
    acts, events = entries(tmp_path)
    assert acts == [*OPENED, *OPENED, ("log.recovery", "outcome", "done"), *CLOSED]
    assert events[4][1]["details"]["report"]["events"] == 1


def test_an_intent_left_open_is_closed_by_the_next_opening(tmp_path):
    trail = AuditTrail(str(tmp_path))
    trail._begin("log.shrink", {"to": 1})
    trail.close()
    aresbus.open(tmp_path).close()
    acts, events = entries(tmp_path)
    assert acts[:2] == [("log.shrink", "intent", None), ("log.shrink", "outcome", "interrupted")]
    assert events[0][2] == events[1][2]
    assert acts[2:] == OPENED + CLOSED


def test_a_trail_that_cannot_be_written_refuses_the_opening(tmp_path):
    (tmp_path / "audit").write_text("no directory")
    with pytest.raises((aresbus.StorageError, OSError)):
        aresbus.open(tmp_path)
    assert not (tmp_path / "META").exists()


def test_a_bus_records_its_configuration(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_history=7):
            pass

    run(act())
    acts, events = entries(tmp_path)
    assert ("bus.configure", "outcome", "done") in acts
    assert events[2][1]["details"]["max_history"] == 7


def test_a_second_writer_is_told_of_the_log_and_its_holder(tmp_path):
    with aresbus.open(tmp_path), pytest.raises(aresbus.LogLockedError) as caught:
        aresbus.open(tmp_path)
    assert caught.value.pid == os.getpid()
    assert caught.value.path == str(tmp_path)


def test_closing_is_idempotent_and_from_any_thread(tmp_path):
    log = aresbus.open(tmp_path)
    threads = [threading.Thread(target=log.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert log.is_closed
    assert entries(tmp_path)[0] == OPENED + CLOSED


def test_use_after_close(tmp_path):
    log = aresbus.open(tmp_path)
    log.close()
    for call in (lambda: log.append("a", 1), log.sync, log.read, log.stats, lambda: log.last_seq):
        with pytest.raises(aresbus.LogClosedError):
            call()


def test_closing_frees_the_lock_even_if_it_cannot_be_recorded(tmp_path, monkeypatch):
    log = aresbus.open(tmp_path)

    def refuse(*arguments):
        raise aresbus.DiskFullError("no room")

    monkeypatch.setattr(log.audit_trail, "_begin", refuse)
    with pytest.raises(aresbus.DiskFullError):
        log.close()
    assert log.is_closed
    with aresbus.open(tmp_path) as again:
        assert again.recovery["clean"]


def test_a_dropped_log_frees_the_lock_at_once(tmp_path):
    gc.disable()
    try:
        log = aresbus.open(tmp_path)
        log.append("a", 1)
        del log
        with aresbus.open(tmp_path) as again:
            assert again.recovery["clean"]
    finally:
        gc.enable()


def test_log_is_the_engines_log(tmp_path):
    with aresbus.open(tmp_path) as log:
        assert isinstance(log, aresbus.Log)
        assert isinstance(log, _core.Log)
        assert log.durability == "interval"


def test_the_native_door_needs_no_other_import(tmp_path):
    text = (
        "import sys, aresbus\n"
        "with aresbus.open(sys.argv[1]) as log:\n"
        "    log.append('risk_alert', 1, source='s')\n"
        "    (event,) = log.read()\n"
        "    assert event.metadata.source == 's' and event.event_type.name == 'RISK_ALERT'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
