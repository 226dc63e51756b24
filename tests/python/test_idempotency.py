"""An event id that its caller gives is a promise: however often it is appended, it is there once.

Semantics: among the newest 65,536 events, across openings; same id, bytes, type and aggregate give the first receipt again,
anything else DuplicateEventError and nothing written.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import aresbus
import pytest
from aresbus import Expected, errors
from aresbus.testing import settled
from bus_support import make_bus, publish, run

WINDOW = 65_536
TRADE = {"symbol": "BTCUSDT", "price": 61_250.5}


@pytest.fixture(params=["disk", "memory"])
def log(request, tmp_path):
    with aresbus.open(tmp_path / "log") if request.param == "disk" else aresbus.Log(None) as log:
        yield log


@pytest.mark.parametrize(
    "event_id", ["0b1c9a52-6f1e-4d53-9a53-1f0f6a1f2c10", "order 17 é", "0B1C9A52-6F1E-4D53-9A53-1F0F6A1F2C10"]
)
def test_a_retry_gives_the_first_receipt_and_appends_nothing(log, event_id):
    log.append("other", 0)
    first = log.append("trade_executed", TRADE, aggregate_id="a", event_id=event_id)
    log.append("trade_executed", TRADE, aggregate_id="a")
    again = log.append("trade_executed", TRADE, aggregate_id="a", event_id=event_id, source="another try")
    assert (again.seq, again.event_id, again.aggregate_version) == (first.seq, first.event_id, 0)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert log.last_seq == 2
    assert log.aggregate_version("a") == 1


def test_a_retry_is_answered_before_the_version_is_checked(log):
    first = log.append("t", 1, aggregate_id="a", event_id="x", expected_version=Expected.NONE)
    again = log.append("t", 1, aggregate_id="a", event_id="x", expected_version=Expected.NONE)
    assert again.seq == first.seq
    assert again.duplicate


@pytest.mark.parametrize(
    "other",
    [
        lambda log: log.append("t", {"n": 2}, aggregate_id="a", event_id="x"),
        lambda log: log.append("u", {"n": 1}, aggregate_id="a", event_id="x"),
        lambda log: log.append("t", {"n": 1}, aggregate_id="b", event_id="x"),
        lambda log: log.append("t", {"n": 1}, event_id="x"),
        lambda log: log.append_bytes("t", b'{"n":1}', aggregate_id="a", event_id="x"),
        lambda log: log.append_many([("t", 0), {"event_type": "t", "data": {"n": 2}, "event_id": "x"}]),
    ],
    ids=["data", "type", "aggregate", "no aggregate", "bytes", "batch"],
)
def test_another_event_with_that_id_is_refused(log, other):
    log.append("t", {"n": 1}, aggregate_id="a", event_id="x")
    with pytest.raises(errors.DuplicateEventError) as raised:
        other(log)
    assert (raised.value.event_id, raised.value.seq) == ("x", 0)
    assert log.last_seq == 0


def test_json_given_is_the_same_as_json_written(log):
    log.append("t", {"n": 1}, event_id="x")
    assert log.append_bytes("t", b'{"n":1}', encoding="json", event_id="x").duplicate


def test_ids_that_the_log_makes_are_not_looked_for(log):
    made = log.append("t", 1)
    assert not log.append("t", 1, event_id=made.event_id).duplicate


def batch(*ids):
    return [{"event_type": "t", "data": n, "event_id": event_id} for n, event_id in enumerate(ids)]


class TestBatches:
    """Known as a whole: its receipts. Known in part: nothing."""

    def test_a_batch_that_is_known_gives_its_receipts(self, log):
        first = log.append_many(batch("a", "b", "c"))
        again = log.append_many(batch("a", "b", "c"))
        assert [one.seq for one in again] == [one.seq for one in first]
        assert all(one.duplicate for one in again)
        assert log.last_seq == 2

    @pytest.mark.parametrize("ids", [("a", "new"), ("new", "b"), ("b", "a"), ("a", None, "b")])
    def test_a_batch_that_is_known_in_part_is_refused_whole(self, log, ids):
        log.append_many(batch("a", "b"))
        with pytest.raises(errors.DuplicateEventError):
            log.append_many([one if one["event_id"] else ("t", one["data"]) for one in batch(*ids)])
        assert log.last_seq == 1

    def test_an_id_stands_once_in_a_batch(self, log):
        with pytest.raises(errors.DuplicateEventError, match="twice") as raised:
            log.append_many(batch("a", "b", "a"))
        assert (raised.value.event_id, raised.value.seq) == ("a", None)
        assert log.last_seq is None


def test_a_retry_after_reopening_and_after_sealing(tmp_path):
    with aresbus.open(tmp_path, segment_bytes=1 << 20) as log:
        log.append("t", "first", event_id="x")
        for _ in range(8):
            log.append_many([("filler", "y" * 500)] * 1_000)
        until_sealed(log)
    with aresbus.open(tmp_path) as log:
        assert log.append("t", "first", event_id="x").duplicate
        with pytest.raises(errors.DuplicateEventError):
            log.append("t", "second", event_id="x")


def until_sealed(log):
    while log.stats()["sealed_count"] == 0:
        threading.Event().wait(0.01)


@pytest.mark.parametrize("reopened", [False, True])
def test_the_window_has_65536_events(tmp_path, reopened):
    def opened():
        return aresbus.open(tmp_path, durability="none")

    log = opened()
    log.append("t", "oldest", event_id="oldest")
    log.append("t", "second", event_id="second")
    log.append_many([("t", n) for n in range(WINDOW - 2)])
    if reopened:
        log.close()
        log = opened()
    # The newest event is at 65,535: all are within.
    assert log.append("t", "oldest", event_id="oldest").duplicate
    log.append("t", "one more", event_id="newest")
    assert log.append("t", "second", event_id="second").duplicate
    assert not log.append("t", "oldest", event_id="oldest").duplicate
    log.close()


def test_two_threads_that_race_with_one_id_append_once(log):
    ids = [str(uuid4()) for _ in range(300)]
    barrier = threading.Barrier(4)

    def append_all():
        barrier.wait()
        return [log.append("t", n, event_id=event_id) for n, event_id in enumerate(ids)]

    with ThreadPoolExecutor(4) as pool:
        results = [one.result() for one in [pool.submit(append_all) for _ in range(4)]]
    assert log.last_seq == len(ids) - 1
    for receipts in zip(*results, strict=True):
        assert len({one.seq for one in receipts}) == 1
        assert sorted(one.duplicate for one in receipts) == [False, True, True, True]


def test_a_retry_under_group_is_durable_on_return(tmp_path):
    with aresbus.open(tmp_path, durability="none") as log:
        first = log.append("t", 1, event_id="x")
        again = log.append("t", 1, event_id="x", durability="group")
        assert again.seq == first.seq
        assert log.durable_seq >= again.seq


def test_a_closed_log_answers_no_retry(tmp_path):
    log = aresbus.open(tmp_path)
    log.append("t", 1, event_id="x")
    log.close()
    with pytest.raises(errors.LogClosedError):
        log.append("t", 1, event_id="x")


def test_a_bus_delivers_a_retry_once(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            seen = []
            bus.subscribe("risk_alert", lambda event: seen.append(event.event_id))
            first = await bus.publish("risk_alert", 1, event_id="x")
            again = await bus.publish("risk_alert", 1, event_id="x")
            await publish(bus, 2)
            await settled(bus)
            with pytest.raises(errors.DuplicateEventError):
                await bus.publish("risk_alert", 3, event_id="x")
            assert (first, again) == ("x", "x")
            assert seen[0] == "x"
            assert len(seen) == 2
            assert bus.get_metrics()["events_published"] == 2

    run(act())


def test_a_store_that_saves_an_event_again_keeps_its_position(tmp_path):
    async def act():
        store = aresbus.FileEventStore(str(tmp_path))
        event = aresbus.Event(aresbus.EventType.RISK_ALERT, {"n": 1}, aresbus.EventMetadata())
        assert await store.save_event(event)
        assert await store.save_event(
            aresbus.Event(aresbus.EventType.RISK_ALERT, {"n": 2}, aresbus.EventMetadata())
        )
        assert await store.save_event(event)
        assert event.metadata.sequence_number == 0
        assert len(await store.get_events()) == 2

    asyncio.run(act())


CHILD = """
import sys, aresbus
with aresbus.open(sys.argv[1], durability=sys.argv[2], segment_bytes=1 << 20) as log:
    for n in range(int(sys.argv[3]), 1_000_000):
        log.append("t", {"n": n}, aggregate_id=str(n % 7), event_id=f"id-{n}")
        print(n, flush=True)
"""


@pytest.mark.parametrize("durability", ["interval", "group"])
def test_a_bot_that_is_killed_and_retries_has_each_event_once(tmp_path, durability):
    """Each life begins a few events before its predecessor's end, as a bot does that knows only what it had answers for."""
    begin = 0
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), durability, str(max(0, begin - 3))],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(60):
            begin = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        begin += 1
    with aresbus.open(tmp_path) as log:
        numbers = [event.data["n"] for event in log.read()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= begin


def test_an_event_that_expired_is_known_no_more(tmp_path):
    with aresbus.open(tmp_path, segment_bytes=1 << 20, sealing="none") as log:
        log.append("t", "expired", event_id="x")
        for _ in range(12):
            log.append_many([("filler", "y" * 500)] * 1_000)
        log.append("t", "kept", event_id="y")
        until_sealed(log)
        policy = aresbus.RetentionPolicy(max_events=2_000)
        while log.first_seq == 0:
            log.apply_retention(log.retention_plan(policy))
        assert log.append("t", "kept", event_id="y").duplicate
        assert not log.append("t", "expired", event_id="x").duplicate
