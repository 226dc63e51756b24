"""Where a subscription begins: places and times that are still to come, also across restarts, and choices that are none."""

from datetime import UTC, datetime, timedelta

import aresbus
import pytest
from aresbus import ConfigError, ManualClock, Replay
from aresbus.subscriptions import CaughtUp
from aresbus.testing import settled
from bus_support import Seen, make_bus, publish, run, until

BEGIN_NS = 1_700_000_000_000_000_000
SECOND_NS = 10**9


async def publish_by_the_second(bus, clock, *numbers) -> None:
    """Event ``n`` is appended ``n`` seconds after the beginning."""
    for n in numbers:
        clock.set_ns(BEGIN_NS + n * SECOND_NS)
        await publish(bus, n)


FROM_FOUR = {
    "after": {"after": 3},
    "since": {"since": BEGIN_NS + 4 * SECOND_NS},
    "since a datetime": {"since": datetime.fromtimestamp(BEGIN_NS / SECOND_NS, UTC) + timedelta(seconds=4)},
}


@pytest.mark.parametrize("name", [None, "desk"])
@pytest.mark.parametrize("begin", FROM_FOUR.values(), ids=FROM_FOUR)
@pytest.mark.parametrize("there", [0, 2, 5, 7])
def test_a_beginning_that_is_still_to_come_is_waited_for(tmp_path, begin, name, there):
    async def act():
        clock, seen, messages = ManualClock(BEGIN_NS), Seen(), []
        async with make_bus(tmp_path, clock=clock) as bus:
            await publish_by_the_second(bus, clock, *range(there))
            mine = bus.subscribe("risk_alert", seen, name=name, on_message=messages.append, **begin)
            await publish_by_the_second(bus, clock, *range(there, 8))
            await settled(bus)
            assert seen == [4, 5, 6, 7]
            assert isinstance(messages[0], CaughtUp)
            assert bus.get_status()["subscriptions"][0]["lag"] == 0
            assert mine.delivered_count == 4

    run(act())


@pytest.mark.parametrize("is_same_object", [True, False])
@pytest.mark.parametrize("name", [None, "desk"])
@pytest.mark.parametrize("begin", FROM_FOUR.values(), ids=FROM_FOUR)
def test_a_beginning_that_is_still_to_come_outlives_restarts(tmp_path, begin, name, is_same_object):
    if name is None and not is_same_object:
        pytest.skip("nothing of it is left")

    async def act():
        clock, seen = ManualClock(BEGIN_NS), Seen()
        bus = make_bus(tmp_path, clock=clock)
        bus.subscribe("risk_alert", seen, name=name, **begin)
        for n in range(8):
            await bus.initialize()
            await publish_by_the_second(bus, clock, n)
            while await bus.process_pending():
                pass
            await bus.stop()
            if not is_same_object:
                bus = make_bus(tmp_path, clock=clock)
                bus.subscribe("risk_alert", seen, name=name, **begin)
        assert seen == [4, 5, 6, 7]

    run(act())


@pytest.mark.parametrize("begin", [{"after": "start"}, {"after": 3}, {"since": BEGIN_NS + 4 * SECOND_NS}])
def test_a_durable_one_that_has_no_checkpoint_yet_misses_nothing_while_its_bus_is_stopped(tmp_path, begin):
    async def act():
        clock, seen = ManualClock(BEGIN_NS), Seen()
        bus = make_bus(tmp_path, clock=clock)
        bus.subscribe("risk_alert", seen, name="desk", **begin)
        await bus.initialize()
        await bus.stop()
        async with make_bus(tmp_path, clock=clock) as other:
            await publish_by_the_second(other, clock, *range(6))
        async with bus:
            await settled(bus)
        assert seen == ([0, 1, 2, 3, 4, 5] if begin == {"after": "start"} else [4, 5])

    run(act())


def test_since_counts_only_while_there_is_no_checkpoint(tmp_path):
    async def act():
        clock, seen = ManualClock(BEGIN_NS), Seen()
        async with make_bus(tmp_path, clock=clock) as bus:
            bus.subscribe("risk_alert", seen, name="desk")
            await publish_by_the_second(bus, clock, 0)
            await settled(bus)
        async with make_bus(tmp_path, clock=clock) as bus:
            bus.subscribe("risk_alert", seen, name="desk", since=BEGIN_NS + 2 * SECOND_NS)
            await publish_by_the_second(bus, clock, 1, 2)
            await settled(bus)
        assert seen == [0, 1, 2]

    run(act())


NONE_AT_ALL = [
    {"event_type": "\ud800*"},
    {"aggregate_id": 5},
    {"aggregate_id": "\ud800"},
    {"tags": 5},
    {"tags": ["a", "b"]},
    {"tags": {"a": 1}},
    {"tags": {1: "a"}},
    {"tags": {"a": "\udcff"}},
]


@pytest.mark.parametrize("choice", NONE_AT_ALL, ids=repr)
def test_a_choice_that_no_event_could_be_held_against_is_refused(choice):
    (named,) = choice
    keywords = {"event_type": "risk_alert", **choice}
    with aresbus.Log(None) as log:
        log.append("risk_alert", 1)
        for subscriber in (make_bus("nowhere", enable_persistence=False), Replay(log)):
            with pytest.raises(ConfigError) as raised:
                subscriber.subscribe(callback=print, **keywords)
            (problem,) = raised.value.problems
            assert problem.startswith(f"{named}: got ")


@pytest.mark.parametrize(
    "begin",
    [
        {"after": 1 << 64},
        {"since": 1 << 63},
        {"since": datetime(2300, 1, 1, tzinfo=UTC)},
        {"since": datetime(1, 1, 1, tzinfo=UTC)},
    ],
    ids=repr,
)
def test_a_place_that_no_log_can_have_is_refused(begin):
    with pytest.raises(ConfigError):
        make_bus("nowhere", enable_persistence=False).subscribe("risk_alert", print, **begin)


def test_the_farthest_places_are_places(tmp_path):
    async def act():
        seen = Seen()
        async with make_bus(tmp_path) as bus:
            for begin in ({"after": (1 << 64) - 1}, {"since": (1 << 63) - 1}):
                for name in (None, f"{begin}"):
                    bus.subscribe("risk_alert", seen, name=name, **begin)
            old = Seen()
            bus.subscribe("risk_alert", old, since=datetime(1900, 1, 1, tzinfo=UTC))
            await publish(bus, 0, 1)
            await settled(bus)
        assert (seen, old) == ([], [0, 1])

    run(act())


def test_the_tags_of_a_choice_are_its_own():
    async def act():
        tags, seen = {"desk": "a"}, Seen()
        async with make_bus("nowhere", enable_persistence=False) as bus:
            bus.subscribe("risk_alert", seen, tags=tags)
            tags["desk"] = "b"
            await publish(bus, 0, tags={"desk": "a"})
            await settled(bus)
        assert seen == [0]

    run(act())


def test_a_back_off_of_ages_is_kept_in_what_a_log_can_hold(tmp_path):
    async def act():
        def on_event(event):
            raise ValueError("no")

        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", on_event, name="desk", back_off=(1e300, 1e300))
            await publish(bus, 0)
            await until(lambda: mine.attempt == 1)
            assert mine.halted_for is None
            mine.unsubscribe()
            await bus.stop(0.1)

    run(act())
