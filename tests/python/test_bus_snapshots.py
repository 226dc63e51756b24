"""Snapshots and rebuilding: when they are made, what they carry, when they are believed, and that they change nothing."""

import asyncio
import json

import aresbus
import pytest
from aresbus import EnhancedEventBus, EventSnapshot, IEventStore
from aresbus.snapshot_record import StoredSnapshot
from aresbus.testing import InMemoryBus, settled
from bus_support import TRADE, Seen, make_bus, run, until
from snapshot_support import read_snapshots, stored_snapshots


async def trades(bus, count, aggregate="a", start=0):
    for n in range(start, start + count):
        await bus.publish("trade_executed", {**TRADE, "n": n}, aggregate_id=aggregate)


def numbers(state):
    return [trade["n"] for trade in state["trades"]]


# Rebuilding


def test_the_built_in_reducer():
    async def act():
        bus = InMemoryBus()
        await trades(bus, 2)
        await bus.publish("performance_update", {"pnl": 1}, aggregate_id="a")
        await bus.publish("performance_update", {"pnl": 2}, aggregate_id="a")
        await bus.publish("risk_alert", {}, aggregate_id="a")
        await trades(bus, 1, "other")
        state = await bus.rebuild_from_events("a")
        assert numbers(state) == [0, 1]
        assert state["performance"] == {"pnl": 2}
        assert numbers(await bus.rebuild_from_events("a", 0)) == [0]
        assert "performance" not in await bus.rebuild_from_events("a", 1)
        assert await bus.rebuild_from_events("nobody") == {}

    run(act())


def test_own_reducers_may_return_or_change_the_state():
    async def act():
        bus = InMemoryBus()

        def changing(state, event):
            state["count"] = state.get("count", 0) + 1

        bus.register_reducer("risk_alert", changing)
        bus.register_reducer("system_error", lambda state, event: {**state, "last": event.data})
        for n in range(3):
            await bus.publish("risk_alert", n, aggregate_id="a")
            await bus.publish("system_error", n, aggregate_id="a")
        assert await bus.rebuild_from_events("a") == {"count": 3, "last": 2}

    run(act())


def test_a_failing_reducer_fails_the_rebuild_and_no_delivery(caplog):
    async def act():
        bus, seen = InMemoryBus(snapshot_frequency=2), Seen()

        def broken(state, event):
            raise ZeroDivisionError

        bus.register_reducer("risk_alert", broken)
        bus.subscribe("risk_alert", seen)
        for n in range(4):
            await bus.publish("risk_alert", n, aggregate_id="a")
        await bus.settled()
        assert seen == [0, 1, 2, 3]
        with pytest.raises(ZeroDivisionError):
            await bus.rebuild_from_events("a")

    run(act())
    assert "no snapshot of a" in caplog.text


# When


def test_a_system_snapshot_every_n_events_and_at_stop(tmp_path):
    async def act():
        bus = make_bus(tmp_path, snapshot_frequency=10)
        for n in range(25):
            await bus.publish("risk_alert", n)
            if n % 5 == 4:
                await bus.process_pending()
        assert bus.snapshots["system"].sequence_number == 19
        assert bus.metrics["snapshots_created"] == 2
        await bus.stop()
        snapshot = bus.snapshots["system"]
        assert snapshot.sequence_number == 24
        assert snapshot.state_data["metrics"]["events_processed"] == 25
        assert isinstance(snapshot, EventSnapshot)

    run(act())


def test_aggregates_every_n_events_of_theirs_if_a_reducer_knows_them(tmp_path):
    async def act():
        async with make_bus(tmp_path, snapshot_frequency=10) as bus:
            await trades(bus, 25, "a")
            await trades(bus, 9, "b")
            for n in range(30):
                await bus.publish("risk_alert", n, aggregate_id="c")
            await settled(bus)
            await until(lambda: "a" in bus.snapshots)
        assert set(bus.snapshots) == {"a", "system"}
        with aresbus.open(tmp_path, mode="r") as log:
            newest = stored_snapshots(log, "a")[0]
        assert newest.aggregate_version in {9, 19}
        assert numbers(newest.snapshot.state_data) == list(range(newest.aggregate_version + 1))
        assert newest.anchor.epoch == 1

    run(act())


def test_a_running_bus_makes_them_without_subscribers_and_without_a_timer(tmp_path):
    async def act():
        async with make_bus(tmp_path, snapshot_frequency=10, processing_interval=1_000) as bus:
            await trades(bus, 10)
            await until(lambda: {"a", "system"} <= set(bus.snapshots))

    run(act())


def test_a_snapshot_never_runs_ahead_of_what_is_durable(tmp_path):
    async def act():
        bus = make_bus(tmp_path, snapshot_frequency=5, log_options={"durability": "none"})
        await trades(bus, 5)
        await bus.process_pending()
        assert bus.snapshots["a"].sequence_number <= bus.log.durable_seq
        await bus.stop()

    run(act())


# Whether they are believed


async def with_snapshot(folder):
    """Ten trades of aggregate a with a snapshot after the tenth, then five more."""
    bus = make_bus(folder, snapshot_frequency=10)
    await trades(bus, 10)
    await bus.process_pending()
    await trades(bus, 5, start=10)
    await bus.stop()


async def rebuilt(folder, *, version=1, target=None):
    """The trades of the state, and which event numbers the reducer saw for it."""
    seen = []

    def reducer(state, event):
        seen.append(event.data["n"])
        state.setdefault("trades", []).append(event.data)

    bus = make_bus(folder)
    bus.register_reducer("trade_executed", reducer, version=version)
    state = await bus.rebuild_from_events("a", target)
    ignored = bus.metrics["snapshots_ignored"]
    await bus.stop()
    return numbers(state), seen, ignored


def test_a_rebuild_begins_at_the_newest_snapshot(tmp_path):
    run(with_snapshot(tmp_path))
    assert run(rebuilt(tmp_path)) == (list(range(15)), list(range(10, 15)), 0)


def test_a_rebuild_to_before_the_snapshot_does_without(tmp_path):
    run(with_snapshot(tmp_path))
    assert run(rebuilt(tmp_path, target=4)) == (list(range(5)), list(range(5)), 0)


def test_a_snapshot_of_another_reducer_version_is_ignored_and_counted(tmp_path, caplog):
    run(with_snapshot(tmp_path))
    assert run(rebuilt(tmp_path, version=2)) == (list(range(15)), list(range(15)), 1)
    assert "unusable" in caplog.text


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "text"])
def test_a_damaged_snapshot_is_ignored_and_counted(tmp_path, damage):
    run(with_snapshot(tmp_path))
    for path in (tmp_path / "snapshots").iterdir():
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes({"bit": bytes(raw), "cut": bytes(raw[:40]), "empty": b"", "text": b"{}"}[damage])
    state, seen, ignored = run(rebuilt(tmp_path))
    assert (state, seen) == (list(range(15)), list(range(15)))
    assert ignored >= 1


def test_a_snapshot_whose_content_was_altered_is_ignored(tmp_path):
    run(with_snapshot(tmp_path))
    with aresbus.open(tmp_path) as log:
        (seq, payload), *_ = read_snapshots(log, "a")
        body = json.loads(payload)
        body["snapshot"]["state_data"]["trades"] = []
        log._write_snapshot("a", seq, json.dumps(body).encode(), 2)
    assert run(rebuilt(tmp_path)) == (list(range(15)), list(range(15)), 1)


def test_a_snapshot_of_an_event_that_is_not_the_one_there_is_ignored(tmp_path):
    run(with_snapshot(tmp_path))
    with aresbus.open(tmp_path) as log:
        (_, payload), *_ = read_snapshots(log, "a")
        stored = StoredSnapshot.decode(payload)
        other = StoredSnapshot(
            EventSnapshot("x", stored.snapshot.timestamp, "a", 12, {"trades": []}),
            kind=stored.kind,
            reducers=stored.reducers,
            anchor=stored.anchor._replace(seq=12, event_id="an event that was lost"),
        )
        log._write_snapshot("a", 12, other.encode(), 2)
    assert run(rebuilt(tmp_path)) == (list(range(15)), list(range(10, 15)), 1)


def test_an_own_snapshot_is_a_base_for_rebuilding(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await trades(bus, 3)
            given = EventSnapshot("s", bus.clock.now(), "a", 1, {"trades": [{"n": "given"}]})
            assert await bus.event_store.save_snapshot(given)
            assert numbers(await bus.rebuild_from_events("a")) == ["given", 2]

    run(act())


def test_a_state_without_its_first_events_is_refused_and_one_with_a_snapshot_is_not():
    async def act():
        bus = EnhancedEventBus(
            {"event_bus": {"enable_persistence": False, "snapshot_frequency": 100}},
            strict=True,
            log_options={"memory_bytes": 4 << 20},
        )
        await trades(bus, 10, "short")
        await trades(bus, 100, "long")
        await bus.process_pending()
        for n in range(1_500):
            await bus.publish("risk_alert", [n, "x" * 10_000])
        assert bus.log.first_seq > 110
        with pytest.raises(aresbus.TruncatedError) as caught:
            await bus.rebuild_from_events("short")
        assert caught.value.first_seq == bus.log.first_seq
        await trades(bus, 1, "short", start=10)
        with pytest.raises(aresbus.TruncatedError):
            await bus.rebuild_from_events("short")

    run(act())


# A store of one's own


class ListStore(IEventStore):
    """The smallest store there can be; positions from 1, to show that nobody relies on 0."""

    def __init__(self, *, takes=True):
        self.events, self.saved, self.takes = [], {}, takes

    async def save_event(self, event):
        await asyncio.sleep(0)
        if self.takes:
            self.events.append(event)
            event.metadata.sequence_number = len(self.events)
        return self.takes

    async def get_events(self, aggregate_id=None, from_sequence=0, to_sequence=None, event_types=None):
        return [
            event
            for event in self.events
            if aggregate_id in (None, event.metadata.aggregate_id)
            and from_sequence <= event.metadata.sequence_number
            and (to_sequence is None or event.metadata.sequence_number <= to_sequence)
            and (event_types is None or event.event_type in event_types)
        ]

    async def save_snapshot(self, snapshot):
        self.saved[snapshot.aggregate_id] = snapshot
        return True

    async def get_latest_snapshot(self, aggregate_id):
        return self.saved.get(aggregate_id)


def on_own_store(store, **settings):
    return EnhancedEventBus({"event_bus": settings}, event_store=store, strict=True)


def test_a_bus_on_an_own_store_saves_first_then_delivers():
    async def act():
        store, seen = ListStore(), Seen()
        async with on_own_store(store, snapshot_frequency=10) as bus:
            bus.subscribe("trade_executed", seen)
            await trades(bus, 12)
            await settled(bus)
            assert [trade["n"] for trade in seen] == list(range(12))
            assert [event.metadata.sequence_number for event in seen.events] == list(range(1, 13))
            assert [event.event_id for event in seen.events] == [event.event_id for event in store.events]
            assert seen.events[0].metadata is store.events[0].metadata
            assert await bus.replay_events("a", 2, 3) == store.events[1:3]
            assert numbers(await bus.rebuild_from_events("a")) == list(range(12))
            await until(lambda: "a" in store.saved)
            assert numbers(await bus.rebuild_from_events("a")) == list(range(12))
        assert "system" in store.saved

    run(act())


def test_an_own_store_that_refuses_raises_and_nothing_is_delivered():
    async def act():
        seen = Seen()
        async with on_own_store(ListStore(takes=False)) as bus:
            bus.subscribe("risk_alert", seen)
            with pytest.raises(aresbus.StorageError):
                await bus.publish("risk_alert", 1)
            with pytest.raises(aresbus.EncodeError):
                await bus.publish("risk_alert", object())
            with pytest.raises(ValueError, match="expected_version"):
                await bus.publish("risk_alert", 1, expected_version=3)
            await settled(bus)
        assert seen == []

    run(act())
