"""When snapshots are made: every n events, every so often, when a predicate holds, by hand; how many are kept."""

import aresbus
import pytest
from aresbus import EventSnapshot, ManualClock, Reducers, SnapshotPolicy, take_snapshot
from aresbus.testing import InMemoryBus
from bus_support import make_bus, run
from snapshot_support import stored_snapshots
from test_bus_snapshots import ListStore, on_own_store

SECOND = 1_000_000_000


def count(state, event):
    state["n"] = state.get("n", 0) + 1


def counting(bus):
    for category in ("order", "account"):
        bus.register_reducer(None, count, category=category)
    return bus


async def publish(bus, count=1, aggregate="order-1", event_type="risk_alert"):
    for n in range(count):
        await bus.publish(event_type, n, aggregate_id=aggregate)
    await bus.process_pending()


def seqs(bus, aggregate="order-1"):
    return [seq for seq, _ in bus.log._snapshots(aggregate)]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"every_events": 0}, ValueError),
        ({"every_events": True}, TypeError),
        ({"every_events": 1.5}, TypeError),
        ({"every_seconds": 0}, ValueError),
        ({"every_seconds": float("inf")}, ValueError),
        ({"every_seconds": "1"}, TypeError),
        ({"when": 1}, TypeError),
        ({"kept": 0}, ValueError),
        ({"kept": None}, TypeError),
    ],
)
def test_a_policy_that_cannot_be_is_refused(settings, error):
    with pytest.raises(error, match=next(iter(settings))):
        SnapshotPolicy(**settings)


def test_an_async_predicate_is_refused():
    async def when(state, event):
        return True

    with pytest.raises(TypeError, match="plain function"):
        SnapshotPolicy(when=when)


def test_each_category_has_its_own_and_the_rest_the_default(tmp_path):
    async def act():
        bus = counting(make_bus(tmp_path, snapshot_frequency=4))
        bus.set_snapshot_policy(SnapshotPolicy(every_events=2), category="account")
        for n in range(4):
            await publish(bus, aggregate="order-1")
            await publish(bus, aggregate="account-1")
            assert ("account-1" in bus.snapshots, "order-1" in bus.snapshots) == (n >= 1, n >= 3)
        bus.set_snapshot_policy(SnapshotPolicy())
        await publish(bus, 8)
        assert seqs(bus) == [6]
        await bus.stop()

    run(act())


def test_by_hand_alone_and_also_where_automatic_ones_are_off(tmp_path):
    async def act():
        bus = counting(make_bus(tmp_path, enable_snapshots=False, snapshot_frequency=1))
        bus.set_snapshot_policy(SnapshotPolicy(every_events=1, every_seconds=1e-9, when=lambda *_: True))
        await publish(bus, 3)
        assert bus.snapshots == {}
        assert await bus.take_snapshot("nobody") is None
        taken = await bus.take_snapshot("order-1")
        assert isinstance(taken, EventSnapshot)
        assert (taken.sequence_number, taken.state_data) == (2, {"n": 3})
        assert bus.snapshots == {"order-1": taken}
        assert await bus.take_snapshot("order-1") == taken  # nothing happened since
        assert bus.log.durable_seq >= 2
        await bus.stop()
        async with make_bus(tmp_path, mode="r") as reader:
            counting(reader)
            assert (await reader.rebuild_from_events("order-1"))["n"] == 3

    run(act())


def test_every_so_often_by_the_clock_of_the_bus(tmp_path):
    async def act():
        clock = ManualClock(1_700_000_000 * SECOND)
        bus = counting(make_bus(tmp_path, clock=clock))
        bus.set_snapshot_policy(SnapshotPolicy(every_seconds=10))
        await publish(bus)
        clock.advance_ns(9 * SECOND)
        await publish(bus)
        assert "order-1" not in bus.snapshots
        clock.advance_ns(SECOND)
        await bus.process_pending()  # no event is needed, only time
        assert seqs(bus) == [1]
        clock.advance_ns(100 * SECOND)
        await bus.process_pending()
        assert seqs(bus) == [1]  # nothing new to take
        await publish(bus)
        clock.advance_ns(9 * SECOND)
        await bus.process_pending()
        assert seqs(bus) == [1]
        clock.advance_ns(SECOND)
        await publish(bus)
        assert seqs(bus) == [3, 1]
        await bus.stop()

    run(act())


def test_time_counts_from_the_last_snapshot_whatever_made_it(tmp_path):
    async def act():
        clock = ManualClock(1_700_000_000 * SECOND)
        bus = counting(make_bus(tmp_path, clock=clock))
        bus.set_snapshot_policy(SnapshotPolicy(every_seconds=10, every_events=3))
        await publish(bus, 2)
        clock.advance_ns(9 * SECOND)
        await publish(bus)
        assert seqs(bus) == [2]
        clock.advance_ns(5 * SECOND)
        await publish(bus)
        assert seqs(bus) == [2]
        clock.advance_ns(10 * SECOND)
        await bus.process_pending()
        assert seqs(bus) == [3, 2]
        await bus.stop()

    run(act())


def test_when_a_predicate_holds_and_of_the_very_event(tmp_path):
    async def act():
        bus, asked = counting(make_bus(tmp_path)), []

        def when(state, event):
            asked.append((state["n"], event.seq))
            return event.data == 2 or state["n"] == 8

        bus.set_snapshot_policy(SnapshotPolicy(when=when), category="order")
        await publish(bus, 5)
        assert asked == [(n + 1, n) for n in range(5)]
        assert seqs(bus) == [2]
        assert bus.snapshots["order-1"].state_data == {"n": 3}
        await publish(bus, 3, "account-1")
        await publish(bus, 2)
        assert asked[5:] == [(6, 8), (7, 9)]  # each event once, in the state that holds it
        await publish(bus, 1)
        assert seqs(bus) == [10, 2]
        await bus.stop()

        # A later process begins with the snapshot, not with the first event.
        bus = counting(make_bus(tmp_path))
        bus.set_snapshot_policy(SnapshotPolicy(when=when))
        del asked[:]
        await publish(bus, 1)
        assert asked == [(9, 11)]
        await bus.stop()

    run(act())


def test_a_predicate_that_fails_costs_its_snapshot_alone(tmp_path, caplog):
    async def act():
        bus, seen = counting(make_bus(tmp_path, snapshot_frequency=2)), []
        bus.set_snapshot_policy(SnapshotPolicy(when=lambda state, event: 1 // 0), category="order")
        bus.subscribe("risk_alert", lambda event: seen.append(event.seq))
        await publish(bus, 2)
        await publish(bus, 2, "account-1")
        assert seen == [0, 1, 2, 3]
        assert set(bus.snapshots) == {"account-1", "system"}
        await bus.stop()

    run(act())
    assert "ZeroDivisionError" in caplog.text


def test_an_aggregate_that_is_always_ahead_of_its_handlers_gets_snapshots_all_the_same(tmp_path):
    async def act():
        bus = counting(make_bus(tmp_path, batch_size=1))
        bus.set_snapshot_policy(SnapshotPolicy(every_events=2, when=lambda state, _: state["n"] == 3))
        bus.subscribe("risk_alert", lambda _: None)
        for n in range(12):
            await bus.publish("risk_alert", n, aggregate_id="order-1")
            await bus.publish("risk_alert", n, aggregate_id="order-1")
            await bus.process_pending()  # one of two is delivered
        assert bus.event_queue.qsize() == 12
        assert bus.metrics["snapshots_created"] >= 5
        await bus.stop()

    run(act())


def test_as_many_are_kept_as_the_policy_says(tmp_path):
    async def act():
        bus = counting(make_bus(tmp_path))
        for kept in (3, 1):
            bus.set_snapshot_policy(SnapshotPolicy(every_events=1, kept=kept))
            for _ in range(5):
                await publish(bus)
            assert len(seqs(bus)) == kept
        await bus.stop()

    run(act())


def test_a_bus_in_memory_and_one_on_an_own_store_know_policies_too():
    async def act():
        bus = counting(InMemoryBus())
        bus.set_snapshot_policy(SnapshotPolicy(when=lambda state, _: state["n"] == 2))
        await publish(bus, 3)
        assert bus.snapshots["order-1"].sequence_number == 1
        store = ListStore()
        bus = counting(on_own_store(store))
        bus.set_snapshot_policy(SnapshotPolicy(when=lambda state, _: state["n"] == 2))
        await publish(bus, 2)
        assert store.saved["order-1"].state_data == {"n": 2}
        await publish(bus, 1)
        assert (await bus.take_snapshot("order-1")).state_data == {"n": 3}
        assert store.saved["order-1"].state_data == {"n": 3}
        with pytest.raises(aresbus.ConfigError, match="lists no snapshots"):
            await bus.check_snapshots()
        await bus.stop()

    run(act())


def test_the_native_door_takes_them_by_hand(tmp_path):
    reducers = Reducers()
    reducers.register(None, count, category="order")
    with aresbus.open(tmp_path, durability="none") as log:
        assert take_snapshot(log, "order-1", reducers) is None
        for n in range(5):
            log.append("note", n, aggregate_id="order-1")
            taken = take_snapshot(log, "order-1", reducers, kept=3)
            assert (taken.sequence_number, taken.state_data["n"]) == (n, n + 1)
            assert log.durable_seq == n
        assert [one.aggregate_version for one in stored_snapshots(log, "order-1")] == [4, 3, 2]
        log.append("note", 0, aggregate_id="plain")
        assert take_snapshot(log, "plain", reducers) is None  # no reducer knows it
    reducers.register(None, count, 2, category="order")
    with aresbus.open(tmp_path, mode="r") as reader, pytest.raises(aresbus.StorageError):
        take_snapshot(reader, "order-1", reducers)
