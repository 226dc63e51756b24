"""The clock steps back and forth by hours under a log and a running bus: order, identities, timers and states do not care.

That a clock that was set lets nothing expire is test_retention.py's, what health says of it test_health.py's, what a state of a past
time is then test_rebuilding.py's.
"""

import asyncio
import random

import aresbus
import pytest
from aresbus import ManualClock, SnapshotPolicy
from aresbus.subscriptions import CaughtUp
from bus_support import make_bus, run, until
from test_retention import sealed

NOW_NS = 1_723_161_255_000_000_000
HOUR_NS = 3_600 * 10**9
COUNT = 1_500


@pytest.fixture
def clock():
    return ManualClock(NOW_NS)


def wander(clock, chance) -> None:
    """A step of up to a day, either way."""
    clock.set_ns(NOW_NS + chance.randrange(-24, 24) * HOUR_NS + chance.randrange(10**9))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Written through five openings while the clock wanders; most of its segments are sealed."""
    clock, chance = ManualClock(NOW_NS), random.Random(7)
    path = tmp_path_factory.mktemp("wandering") / "log"
    for _ in range(5):
        with aresbus.open(path, clock=clock, segment_bytes=1 << 16, durability="group") as log:
            for number in range(COUNT // 5):
                if chance.random() < 0.02:
                    wander(clock, chance)
                clock.advance_ns(1_000)
                log.append("note", [number, "x" * 200], aggregate_id=f"a-{number % 3}", durability="none")
            sealed(log, 1)
    with aresbus.open(path, mode="r") as log:
        yield log


def test_positions_versions_and_identities_go_on(log):
    events = list(log.read())
    assert [event.seq for event in events] == list(range(COUNT))
    assert len({event.event_id for event in events}) == COUNT
    for aggregate in ("a-0", "a-1", "a-2"):
        versions = [event.aggregate_version for event in events if event.aggregate_id == aggregate]
        assert versions == list(range(COUNT // 3))
    times = [event.ts_ns for event in events]
    assert times != sorted(times)
    assert log.recovery["clean"]
    assert log.verify()["findings"] == []


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_range_of_time_has_every_event_of_that_time_and_no_other(log, direction):
    events = list(log.read())
    chance = random.Random(11)
    for _ in range(60):
        since, until_ns = sorted(chance.choice(events).ts_ns + chance.randrange(-2, 2) for _ in range(2))
        found = [event.seq for event in log.read(since=since, until=until_ns, direction=direction)]
        expected = [event.seq for event in events if since <= event.ts_ns < until_ns]
        assert found == (expected if direction == "forward" else expected[::-1])


def test_a_running_bus_delivers_retries_and_parks_whatever_the_clock_does(tmp_path, clock):
    """Waiting is by the monotonic clock: a retry that is due in 10 ms is not due in five hours."""
    chance, taken, tries, told, second = random.Random(3), [], {}, [], None

    def on_event(event):
        wander(clock, chance)
        tries[event.data] = tries.get(event.data, 0) + 1
        if event.data % 7 == 0 and tries[event.data] == 1:
            raise ValueError("once")
        if event.data == 50:
            raise ValueError("always")
        taken.append(event.data)

    def forgetful(event):
        wander(clock, chance)
        if event.data != 10:
            told.append(event.data)
            second.ack(event)

    async def act():
        nonlocal second
        async with make_bus(
            tmp_path, clock=clock, processing_interval=0.005, health_check_interval=0.005
        ) as bus:
            first = bus.subscribe("risk_alert", on_event, name="desk", max_retries=2)
            second = bus.subscribe(
                "risk_alert",
                forgetful,
                ack="manual",
                ack_timeout=0.2,
                max_retries=0,
                key=lambda event: event.seq,
            )
            for number in range(100):
                wander(clock, chance)
                await bus.publish("risk_alert", number, aggregate_id=f"a-{number}")
            await until(lambda: first.delivered_count == 99 and len(first.parked()) == 1)
            await until(lambda: len(told) == 99 and len(second.parked()) == 1)
            assert taken == [n for n in range(100) if n != 50]
            assert bus.check_health().checks["loop"].status == "healthy"
            bus.log.sync()
            await until(lambda: first.checkpoint is not None and first.checkpoint.seq == 99)

    run(act())


def test_a_retry_that_was_waiting_when_the_process_ended_is_not_waited_for_by_a_clock_set_back(
    tmp_path, clock
):
    async def act():
        bus = make_bus(tmp_path, clock=clock)
        bus.subscribe("risk_alert", lambda _: 1 / 0, name="desk", max_retries=5, back_off=(60.0, 60.0))
        running = asyncio.create_task(bus.run())
        await bus.publish("risk_alert", 1)
        await until(lambda: bus.subscriptions[0].attempt == 1)
        await bus.stop(timeout=0.01)
        await running
        clock.advance_ns(-24 * HOUR_NS)
        seen = []
        async with make_bus(tmp_path, clock=clock) as bus:
            bus.subscribe("risk_alert", seen.append, name="desk", back_off=(0.01, 0.02))
            await until(lambda: seen)

    run(act())


def test_a_snapshot_every_so_often_is_not_put_off_by_a_clock_set_back(tmp_path, clock):
    async def act():
        async with make_bus(tmp_path, clock=clock, processing_interval=0.005) as bus:
            bus.set_snapshot_policy(SnapshotPolicy(every_seconds=60))
            await bus.publish("performance_update", {"pnl": 1}, aggregate_id="desk-1")
            await until(lambda: bus.metrics["events_processed"] == 1)
            clock.advance_ns(-5 * HOUR_NS)
            await bus.publish("performance_update", {"pnl": 2}, aggregate_id="desk-1")
            await until(lambda: "desk-1" in bus.snapshots)

    run(act())


def test_history_subscribed_from_a_time_comes_whole(tmp_path, clock):
    """From the first event of that time or later, with all that follow, whatever their times are."""

    async def act():
        seen, told = [], []
        async with make_bus(tmp_path, clock=clock) as bus:
            for number, hours in enumerate((0, 5, -3, 9, 1)):
                clock.set_ns(NOW_NS + hours * HOUR_NS)
                await bus.publish("risk_alert", number)
            bus.subscribe(
                "risk_alert",
                lambda e: seen.append(e.data),
                since=NOW_NS + 4 * HOUR_NS,
                on_message=told.append,
            )
            await until(lambda: any(isinstance(one, CaughtUp) for one in told))
        assert seen[0] == 1
        assert seen in ([1, 2, 3, 4], [1, 3])

    run(act())
