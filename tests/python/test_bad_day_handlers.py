"""Handlers at their worst: they raise what no handler should, hang, cancel, unsubscribe each other, publish without end.

None of it keeps an event from another subscription, loses one, or goes unreported.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading

import pytest
from aresbus import BusStateError, HandlerError, TruncatedError
from aresbus.testing import InMemoryBus, settled
from bad_day_support import check_error, first_segment, numbers, refused
from bus_support import Seen, make_bus, run, until


class TooLongError(Exception):
    """Whose text is its own trouble."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


RAISED = [
    ValueError("bad"),
    StopIteration(1),
    StopAsyncIteration(),
    RecursionError(),
    MemoryError(),
    AssertionError(),
    TimeoutError(),
    asyncio.CancelledError(),
    asyncio.InvalidStateError(),
    ExceptionGroup("several", [ValueError(1), OSError(2)]),
    TruncatedError("as if the log had said it", first_seq=7),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_whatever_a_handler_raises_is_its_own_failure(tmp_path, error, is_async):
    async def act():
        seen = Seen()

        def fails(event):
            raise error

        async def fails_later(event):
            await asyncio.sleep(0)
            raise error

        async with make_bus(tmp_path, max_retry_count=1) as bus:
            failing = bus.subscribe("risk_alert", fails_later if is_async else fails)
            bus.subscribe("risk_alert", seen)
            for number in range(3):
                await bus.publish("risk_alert", number)
            await settled(bus)
            assert seen == [0, 1, 2]
            assert [one.event.data for one in failing.parked()] == [0, 1, 2]
            assert all(one.attempts == 2 for one in failing.parked())
            check_error(
                failing.parked()[0].error, HandlerError, "fails", seq=0, event_id=seen.events[0].event_id
            )
            assert failing.parked()[0].error.handler == failing.name
            assert bus.is_running
            metrics = bus.metrics
            assert (metrics["deliveries_parked"], metrics["deliveries_retried"]) == (3, 3)
            assert metrics["events_processed"] == 3

    run(act())
    assert numbers(tmp_path) == [0, 1, 2]


def test_an_error_without_text_of_its_own_is_reported_too(tmp_path, caplog):
    async def act():
        async with make_bus(tmp_path, max_retry_count=0) as bus:
            failing = bus.subscribe("risk_alert", raises(TooLongError()))
            await bus.publish("risk_alert", 0)
            await settled(bus)
            assert len(failing.parked()) == 1
            check_error(failing.parked()[0].error, HandlerError, "fails", "TooLongError")
            assert bus.is_running
            json.dumps(bus.get_status())

    run(act())
    assert caplog.text


def raises(error):
    def fails(event):
        raise error

    return fails


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt()], ids=lambda error: type(error).__name__
)
def test_leaving_the_program_from_a_handler_leaves_it_and_the_event_is_stored(tmp_path, error):
    script = f"""
import asyncio
from aresbus import EnhancedEventBus
def leaves(event):
    raise {type(error).__name__}(*{error.args!r})
async def act():
    async with EnhancedEventBus({{"event_bus": {{"storage_path": {str(tmp_path)!r}}}}}) as bus:
        bus.subscribe("risk_alert", leaves)
        await bus.publish("risk_alert", 1)
        await asyncio.sleep(60)
asyncio.run(act())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=False)
    assert done.returncode == (3 if isinstance(error, SystemExit) else -2)
    assert numbers(tmp_path) == [1]


def test_what_a_handler_returns_does_not_matter_unless_it_can_be_awaited(tmp_path):
    async def act():
        awaited = []

        class Awaitable:
            def __await__(self):
                awaited.append(True)
                yield from ()

        for value in (0, "text", object(), lambda: 1 / 0, Awaitable(), iter([1]), NotImplemented):
            async with make_bus(tmp_path) as bus:
                bus.subscribe("risk_alert", lambda event, value=value: value)
                await bus.publish("risk_alert", 1)
                await settled(bus)
                assert bus.metrics["events_delivered"] == 1
        assert awaited == [True]

    run(act())


# Hanging


def test_one_hangs_the_others_go_on_and_stop_reports_it_by_name(tmp_path, caplog):
    async def act():
        bus, seen = make_bus(tmp_path, max_retry_count=0), [Seen() for _ in range(3)]

        async def hangs_for_ever(event):
            await asyncio.Event().wait()

        async with bus:
            bus.subscribe("risk_alert", seen[0])
            hanging = bus.subscribe("risk_alert", hangs_for_ever)
            bus.subscribe("risk_alert", seen[1])
            bus.subscribe("system_error", seen[2])
            for number in range(50):
                await bus.publish("risk_alert" if number % 2 else "system_error", number)
            await until(lambda: sum(map(len, seen)) == 75)
            lag = next(
                one for one in bus.get_status()["subscriptions"] if "hangs_for_ever" in one["callback"]
            )["lag"]
            assert lag == 49
            await bus.stop(timeout=0)
        check_error(bus.last_error, HandlerError, "hangs_for_ever", seq=1, handler=hanging.name)
        assert hanging.delivered_count == 0
        assert not hanging.parked(), "cut short is not failed"

    run(act())
    assert "hangs_for_ever" in caplog.text
    assert numbers(tmp_path) == list(range(50))


def test_a_sync_handler_that_hangs_is_reported_while_it_hangs(tmp_path, caplog):
    async def act():
        noticed, bus = [], make_bus(tmp_path)
        release = threading.Event()

        def sits_there(event):
            release.wait(20)

        def look():
            while not release.is_set():
                health = bus.get_status()["health"]
                if health["status"] != "healthy":
                    noticed.append(health)
                    release.set()

        async with bus:
            bus.subscribe("risk_alert", sits_there)
            looker = threading.Thread(target=look)
            looker.start()
            await bus.publish("risk_alert", 1)
            await settled(bus)
            looker.join()
            assert bus.metrics["loop_holds"] == 1
            await until(lambda: bus.get_status()["health"]["status"] == "healthy")
        assert noticed[0]["status"] == "degraded"
        assert "sits_there" in noticed[0]["reasons"][0]

    run(act())
    assert "the loop is held" in caplog.text
    assert "sits_there" in caplog.text


# Changing subscriptions while they are served


def test_handlers_that_end_each_other_and_begin_new_ones(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            calls = []

            def ends_all(event):
                calls.append(("old", event.data))
                for subscription in bus.subscriptions:
                    subscription.unsubscribe()
                bus.subscribe("risk_alert", begins)

            def begins(event):
                calls.append(("new", event.data))

            for _ in range(3):
                bus.subscribe("risk_alert", ends_all)
            for number in range(3):
                await bus.publish("risk_alert", number)
            await settled(bus)
            await bus.publish("risk_alert", "last")
            await settled(bus)
            assert calls == [("old", 0), ("new", "last")], "whoever comes first ends the others too"
            assert list(bus.subscribers["risk_alert"]) == [begins]

    run(act())


def test_an_async_handler_that_unsubscribes_itself_finishes_its_work(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            done = []

            async def once(event):
                bus.unsubscribe("risk_alert", once)
                await asyncio.sleep(0.01)
                done.append(event.data)

            subscription = bus.subscribe("risk_alert", once)
            for number in range(5):
                await bus.publish("risk_alert", number)
            await until(lambda: done)
            await settled(bus)
            assert done == [0]
            assert not subscription.is_active

    run(act())


def test_a_failing_handler_that_unsubscribes_itself_is_not_tried_again():
    async def act():
        async with InMemoryBus() as bus:
            calls = []

            def fails(event):
                calls.append(event.data)
                bus.unsubscribe("risk_alert", fails)
                raise ValueError

            bus.subscribe("risk_alert", fails)
            await bus.publish("risk_alert", 0)
            await bus.publish("risk_alert", 1)
            await bus.settled()
            assert calls == [0]
            assert bus.metrics["deliveries_retried"] == 0

    run(act())


# Publishing from a handler


@pytest.mark.parametrize("durability", ["interval", "group"])
def test_a_chain_of_handlers_that_publish_is_stored_and_delivered_in_order(tmp_path, durability):
    async def act():
        async with make_bus(tmp_path, log_options={"durability": durability}) as bus:
            seen = []

            async def goes_on(event):
                seen.append(event.data)
                if event.data < 200:
                    await bus.publish("risk_alert", event.data + 1)

            bus.subscribe("risk_alert", goes_on)
            await bus.publish("risk_alert", 0)
            await until(lambda: len(seen) == 201)
            await settled(bus)
            assert seen == list(range(201))
            correlations = {event.correlation_id for event in await bus.replay_events(from_sequence=1)}
            assert len(correlations) == 1

    run(act())
    assert numbers(tmp_path) == list(range(201))


def test_a_handler_that_feeds_itself_without_end_starves_nobody_and_stop_ends_it(tmp_path):
    async def act():
        ticks = 0
        async with make_bus(tmp_path) as bus:

            async def feeds_itself(event):
                await bus.publish("risk_alert", event.data + 1)

            bus.subscribe("risk_alert", feeds_itself)
            await bus.publish("risk_alert", 0)
            while ticks < 50:
                await asyncio.sleep(0)
                ticks += 1
            await bus.stop(timeout=0.05)
        assert not bus.is_running

    run(act())
    stored = numbers(tmp_path)
    assert stored == list(range(len(stored)))


def test_a_publish_that_is_refused_in_a_handler_fails_that_handler_only(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_retry_count=0) as bus:
            seen = Seen()

            async def publishes_nonsense(event):
                await bus.publish("risk_alert", object())

            failing = bus.subscribe("risk_alert", publishes_nonsense)
            bus.subscribe("risk_alert", seen)
            await bus.publish("risk_alert", 1)
            await settled(bus)
            assert seen == [1]
            assert failing.parked()[0].error.__cause__.value_path == "$"

    run(act())
    assert numbers(tmp_path) == [1]


def test_a_handler_may_run_or_enter_its_own_bus_only_to_be_told_no(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_retry_count=0) as bus:
            told = []

            async def starts_again(event):
                with refused(BusStateError, "running already") as caught:
                    await bus.run()
                told.append(caught.value)

            bus.subscribe("risk_alert", starts_again)
            await bus.publish("risk_alert", 1)
            await settled(bus)
            assert len(told) == 1
            assert bus.is_running

    run(act())


# Snapshots while things go wrong


@pytest.mark.parametrize("damage", ["folder", "link", "unreadable text", "missing"])
def test_whatever_stands_in_the_place_of_a_snapshot_the_state_is_rebuilt(tmp_path, damage):
    async def act():
        async with make_bus(tmp_path, snapshot_frequency=5) as bus:
            for number in range(12):
                await bus.publish("performance_update", {"n": number}, aggregate_id="a")
            await settled(bus)
            await until(lambda: "a" in bus.snapshots)
        for path in (tmp_path / "snapshots").iterdir():
            path.unlink()
            with contextlib.suppress(KeyError):
                {
                    "folder": path.mkdir,
                    "link": lambda path=path: path.symlink_to("/nonexistent"),
                    "unreadable text": lambda path=path: path.write_bytes(b"\xff\x00" * 500),
                }[damage]()
        async with make_bus(tmp_path, snapshot_frequency=5) as bus:
            assert await bus.rebuild_from_events("a") == {"performance": {"n": 11}}
            # A link to nothing is nothing.
            assert (bus.metrics["snapshots_ignored"] > 0) is (damage not in {"missing", "link"})
        assert first_segment(tmp_path).exists()

    run(act())
