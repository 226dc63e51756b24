"""A log that holds six schema versions of one type, through the bus: subscribed, rebuilt, redelivered by one call each.

The log is that of test_schema_presenting.py: five years of fills, written by a bot that changed its mind five times.
"""

import pytest
from aresbus.testing import settled
from bus_support import Seen, make_bus, run, until
from test_schema_presenting import PER_YEAR, five_years, ruled, six_versions

ALL = 5 * PER_YEAR
NEWEST = "2.1.0"
TOTAL = 201.0 * ALL


@pytest.fixture
def log(tmp_path):
    """The folder of the five years."""
    five_years(tmp_path / "log", six_versions())
    return tmp_path / "log"


def knowing_bus(folder, **options):
    """A bus with the six versions registered, and a reducer that knows only the newest."""
    bus = make_bus(folder, **options)
    six_versions(bus.version_manager)

    def add(state, event):
        assert event.metadata.schema_version == bus.version_manager.current_version("fill")
        state["notional"] = state.get("notional", 0.0) + event.data["notional"]

    bus.register_reducer("fill", add)
    return bus


@pytest.mark.parametrize("mode", ["rw", "r"])
def test_subscribed_from_the_start_each_comes_in_the_current_form(log, mode):
    async def act():
        seen = Seen()
        async with knowing_bus(log, mode=mode) as bus:
            bus.subscribe("fill", seen, after="start", unknown_versions="halt")
            await settled(bus)
        assert len(seen) == ALL
        assert {event.metadata.schema_version for event in seen.events} == {NEWEST}
        assert all(bus.version_manager.problems("fill", data, NEWEST) == [] for data in seen)
        assert sum(data["notional"] for data in seen) == TOTAL
        assert len({event.stored.schema_version for event in seen.events}) == 6

    run(act())


@pytest.mark.parametrize("mode", ["rw", "r"])
def test_rebuilt_the_reducer_sees_the_current_form_alone(log, mode):
    async def act():
        async with knowing_bus(log, mode=mode) as bus:
            assert await bus.rebuild_from_events("BTCUSDT") == {"notional": TOTAL}
            half = await bus.rebuild_from_events("BTCUSDT", target_version=ALL // 2 - 1)
            assert half == {"notional": TOTAL / 2}

    run(act())


def test_a_snapshot_from_before_a_version_bump_is_ignored(log):
    async def act():
        async with knowing_bus(log, snapshot_frequency=10) as bus:
            for _ in range(10):
                new = {
                    "symbol": "BTCUSDT",
                    "price": 100.5,
                    "qty": 2,
                    "venue": "x",
                    "at": "now",
                    "notional": 201.0,
                }
                await bus.publish("fill", new, aggregate_id="BTCUSDT")
            await until(lambda: "BTCUSDT" in bus.snapshots)
        async with knowing_bus(log, mode="r") as bus:
            snapshot = await bus.event_store.get_latest_snapshot("BTCUSDT")
            assert snapshot.state_data == {"notional": TOTAL + 2010.0}
            assert await bus.rebuild_from_events("BTCUSDT") == {"notional": TOTAL + 2010.0}
            assert bus.get_metrics()["snapshots_ignored"] == 0
        bumped = knowing_bus(log, mode="r")
        versions = bumped.version_manager
        versions.upcaster("fill", NEWEST, "3.0.0")(lambda data: {**data, "notional": data["notional"] / 100})
        versions.register("fill", ruled("symbol", "price", "qty", "venue", "at", "notional"), version="3.0.0")
        async with bumped as bus:
            assert (await bus.rebuild_from_events("BTCUSDT"))["notional"] == pytest.approx(
                (TOTAL + 2010.0) / 100
            )
            assert bus.get_metrics()["snapshots_ignored"] >= 1

    run(act())


def test_what_was_parked_in_an_older_form_is_presented_again_when_it_is_redelivered(log):
    async def act():
        def refuse(event):
            raise OSError("the desk is closed")

        unknowing = make_bus(log)
        unknowing.version_manager.register("fill", ruled("sym", "px", "qty"), version="1.0.0")
        async with unknowing as bus:
            bus.subscribe("fill", refuse, name="desk", after="start", max_retries=0, key=lambda event: None)
            await settled(bus)
        seen = Seen()
        async with knowing_bus(log) as bus:
            mine = bus.subscribe("fill", seen, name="desk", key=lambda event: None)
            parked = mine.parked()
            assert len({one.event.stored.schema_version for one in parked}) == 6
            assert await mine.redeliver_parked() == (ALL, 0)
            assert mine.parked() == []
        assert len(seen) == ALL
        assert {event.metadata.schema_version for event in seen.events} == {NEWEST}
        assert sum(data["notional"] for data in seen) == TOTAL

    run(act())


def test_a_step_that_fails_parks_its_event_and_once_it_is_mended_the_event_comes(log):
    async def act():
        is_mended = False

        def step(data):
            if not is_mended:
                raise KeyError("not thought of")
            return {**data, "checked": True}

        seen = Seen()
        bus = knowing_bus(log)
        bus.version_manager.upcaster("fill", NEWEST, "3.0.0")(step)
        bus.version_manager.register("fill", ruled("checked"), version="3.0.0", compatibility="NONE")
        async with bus:
            mine = bus.subscribe("fill", seen, name="desk", after="start", key=lambda event: None)
            await until(lambda: len(mine.parked()) == ALL)
            assert seen == []
            is_mended = True
            assert await mine.redeliver_parked() == (ALL, 0)
        assert all(data["checked"] for data in seen)
        assert len(seen) == ALL

    run(act())
