"""`publish`: what it returns, where it suspends, what it refuses and what it raises, from any thread."""

import asyncio
import collections.abc
import gc
import inspect
import logging
import threading
import time
import weakref
from datetime import UTC, datetime
from functools import partial

import aresbus
import pytest
from aresbus import EnhancedEventBus, EventType, Expected
from aresbus.publishing import Publication
from aresbus.testing import InMemoryBus
from bus_support import TRADE, Seen, make_bus, run, until

GROUP = {"durability": "group"}


def lenient(**settings):
    return EnhancedEventBus({"event_bus": {"enable_persistence": False, **settings}})


# The awaitable


def test_a_publication_that_is_dropped_while_it_waits_is_gone_at_once():
    async def act():
        class Kept:
            """Stands for the bus and all that a waiting publication needs."""

        async def later(kept):
            await asyncio.sleep(0)
            return str(kept)

        kept = Kept()
        gone = weakref.ref(kept)
        publication = Publication(None, later=partial(later, kept))
        publication.send(None)
        del kept
        gc.disable()
        try:
            del publication
            assert gone() is None
        finally:
            gc.enable()

    run(act())


def test_a_publication_is_awaited_once_however_it_ended():
    bus = lenient()
    awaited, stepped, closed = (bus.publish("risk_alert", n) for n in range(3))
    assert run(asyncio.wait_for(awaited, 1))
    with pytest.raises(StopIteration):
        stepped.send(None)
    closed.close()
    for one in (awaited, stepped, closed):
        with pytest.raises(RuntimeError, match="already awaited"):
            one.send(None)
        with pytest.raises(RuntimeError, match="already awaited"):
            run(asyncio.wait_for(one, 1))


def test_a_publication_is_a_coroutine():
    publication = InMemoryBus().publish("risk_alert", 1)
    assert isinstance(publication, collections.abc.Coroutine)
    assert inspect.isawaitable(publication)
    assert asyncio.iscoroutine(publication)
    publication.close()


async def first(several):
    (one,) = await several
    return one


async def in_group(publication):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(publication)
    return task.result()


WAYS = {
    "await": lambda publication: publication,
    "create_task": asyncio.create_task,
    "ensure_future": asyncio.ensure_future,
    "gather": lambda publication: first(asyncio.gather(publication)),
    "wait_for": lambda publication: asyncio.wait_for(publication, 5),
    "shield": asyncio.shield,
    "as_completed": lambda publication: next(iter(asyncio.as_completed([publication]))),
    "TaskGroup": in_group,
    "thread": lambda publication: asyncio.to_thread(asyncio.run, publication),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [None, GROUP], ids=["interval", "group"])
@pytest.mark.parametrize("debug", [False, True])
def test_every_way_of_awaiting_gives_the_id(tmp_path, way, options, debug):
    async def act():
        async with make_bus(tmp_path, log_options=options) as bus:
            event_id = await WAYS[way](bus.publish("risk_alert", {"n": 1}))
            assert event_id == bus.event_history[0].event_id
            assert isinstance(event_id, str)

    run(act(), debug=debug)


def test_asyncio_run_takes_a_publication():
    bus = InMemoryBus()
    event_id = asyncio.run(bus.publish("risk_alert", 1))
    assert event_id == bus.event_history[0].event_id


def test_many_publications_in_tasks_keep_the_order_of_their_calls(tmp_path):
    async def act():
        async with make_bus(tmp_path, log_options=GROUP) as bus:
            ids = await asyncio.gather(*(bus.publish("risk_alert", n) for n in range(500)))
            assert [event.event_id for event in await bus.replay_events()] == list(ids)
            assert bus.log.durable_seq == 499

    run(act())


def test_the_append_happens_at_the_call():
    bus = InMemoryBus()
    publication = bus.publish("risk_alert", 1)
    assert bus.log.last_seq == 0
    publication.close()
    assert bus.log.last_seq == 0


def test_a_publication_is_awaited_once():
    async def act():
        publication = InMemoryBus().publish("risk_alert", 1)
        await publication
        with pytest.raises(RuntimeError, match="already awaited"):
            await publication

    run(act())


def test_an_error_thrown_into_a_publication_comes_out():
    publication = InMemoryBus().publish("risk_alert", 1)
    with pytest.raises(KeyError):
        publication.throw(KeyError("x"))


def test_a_forgotten_await_is_no_warning_and_no_loss(tmp_path):
    bus = make_bus(tmp_path, log_options=GROUP)
    bus.publish("risk_alert", 1)
    assert [event.data for event in bus.log.read()] == [1]
    run(bus.stop())


# Turns for others


def steps_of(publication) -> int:
    count = 0
    try:
        while True:
            publication.send(None)
            count += 1
    except StopIteration:
        return count


def test_of_1024_publications_in_a_row_one_suspends():
    bus = InMemoryBus()
    suspended = [steps_of(bus.publish("risk_alert", n)) for n in range(3 * 1_024)]
    for start in range(0, len(suspended) - 1_023, 64):
        assert sum(suspended[start : start + 1_024]) >= 1
    assert sum(suspended) < 50


def test_each_thread_has_its_own_turns():
    bus, counts = InMemoryBus(), []

    def publish():
        counts.append(sum(steps_of(bus.publish("risk_alert", n)) for n in range(1_024)))

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(counts) >= 1


@pytest.mark.parametrize("is_running", [True, False])
def test_a_ticker_turns_beside_a_tight_publish_loop(tmp_path, is_running):
    async def act():
        bus, ticks = make_bus(tmp_path), 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        async def publish():
            for n in range(20_000):
                await bus.publish("risk_alert", n)

        ticker = asyncio.create_task(tick())
        if is_running:
            async with bus:
                await publish()
        else:
            await publish()
            await bus.stop()
        ticker.cancel()
        assert ticks >= 20_000 // 1_024

    run(act())


def test_a_timeout_ends_a_tight_publish_loop():
    async def act():
        bus = InMemoryBus()

        async def publish():
            async with asyncio.timeout(0.05):
                while True:
                    await bus.publish("risk_alert", 1)

        with pytest.raises(TimeoutError):
            await publish()

    run(act())


def test_cancelling_ends_a_tight_publish_loop():
    async def act():
        bus = InMemoryBus()

        async def publish():
            while True:
                await bus.publish("risk_alert", 1)

        task = asyncio.create_task(publish())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(act())


# Durability


@pytest.mark.parametrize("durability", ["group", "always"])
def test_a_durable_publication_suspends_and_is_durable(tmp_path, durability):
    async def act():
        async with make_bus(tmp_path) as bus:
            turns = 0

            async def tick():
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            ticker = asyncio.create_task(tick())
            for n in range(20):
                await bus.publish("risk_alert", n, durability=durability)
                assert bus.log.durable_seq >= n
            ticker.cancel()
            assert turns >= 20

    run(act())


def test_cancelling_one_waiter_leaves_the_others(tmp_path):
    async def act():
        async with make_bus(tmp_path, log_options=GROUP) as bus:
            tasks = [asyncio.create_task(bus.publish("risk_alert", n)) for n in range(20)]
            await asyncio.sleep(0)
            # A fast disk may be done with it already; then there is nothing to cancel.
            is_waiting = tasks[0].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError) == is_waiting
            assert all(isinstance(one, str) for one in results[1:])
            assert bus.log.last_seq == 19

    run(act())


# Arguments


def test_everything_given_arrives():
    async def act():
        bus = InMemoryBus()
        event_id = await bus.publish(
            EventType.TRADE_EXECUTED, TRADE, "strategy", "conversation", "order-1", {"desk": "a"},
            causation_id="cause", event_id="own-id", event_time_ns=1_000_000, schema_version="1.0.0",
            expected_version=Expected.NONE,
        )  # fmt: skip
        assert event_id == "own-id"
        (event,) = bus.event_history
        assert event.event_type is EventType.TRADE_EXECUTED
        metadata = event.metadata
        assert (metadata.event_id, metadata.source, metadata.correlation_id) == (
            "own-id",
            "strategy",
            "conversation",
        )
        assert (metadata.causation_id, metadata.aggregate_id, metadata.tags) == (
            "cause",
            "order-1",
            {"desk": "a"},
        )
        assert metadata.timestamp == datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
        assert (event.seq, event.aggregate_version) == (0, 0)

    run(act())


def test_live_data_is_the_publishers_object_if_it_is_exact_json():
    bus, exact, foreign = InMemoryBus(), {"a": [1, "x"]}, {"when": datetime(2024, 1, 1, tzinfo=UTC)}
    run(bus.publish("risk_alert", exact))
    run(bus.publish("risk_alert", foreign))
    first_event, second_event = bus.event_history
    assert first_event.data is exact
    assert second_event.data == {"when": "2024-01-01T00:00:00+00:00"}


def test_a_version_conflict_always_raises():
    async def act():
        bus = lenient()
        await bus.publish("risk_alert", 1, aggregate_id="a", expected_version=Expected.NONE)
        with pytest.raises(aresbus.VersionConflictError) as caught:
            await bus.publish("risk_alert", 2, aggregate_id="a", expected_version=5)
        conflict = caught.value
        assert (conflict.aggregate_id, conflict.actual, conflict.conflicting_seq) == ("a", 0, 0)
        assert conflict.conflicting_type == "risk_alert"
        assert bus.log.last_seq == 0

    run(act())


# Refusals

UNKNOWN = ("no_such_type", {}, aresbus.UnknownEventTypeError)
UNENCODABLE = ("risk_alert", {"x": [object()]}, aresbus.EncodeError)
BREACH = ("trade_executed", {"symbol": "BTCUSDT"}, aresbus.SchemaError)


@pytest.mark.parametrize(("event_type", "data", "error"), [UNKNOWN, UNENCODABLE, BREACH])
def test_refused_input_gives_an_empty_id_and_is_never_silent(caplog, event_type, data, error):
    bus = lenient(schema_validation="strict")
    publication = bus.publish(event_type, data)
    assert bus.metrics["events_rejected"] == 1
    assert error.code in caplog.text
    assert isinstance(bus.last_error, error)
    assert error.code in bus.get_status()["last_error"]
    assert run(publication) == ""
    assert bus.log.last_seq is None


@pytest.mark.parametrize(("event_type", "data", "error"), [UNKNOWN, UNENCODABLE, BREACH])
def test_a_strict_bus_raises_on_the_await_and_logs_at_the_call(caplog, event_type, data, error):
    bus = InMemoryBus(schema_validation="strict")
    publication = bus.publish(event_type, data)
    assert error.code in caplog.text
    assert bus.metrics["events_rejected"] == 1
    with pytest.raises(error):
        run(publication)


def test_a_refusal_names_the_value():
    bus = lenient()
    assert run(bus.publish("risk_alert", {"x": [object()]})) == ""
    assert bus.last_error.value_path == "$.x[0]"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"tags": 3}, TypeError),
        ({"source": 3}, TypeError),
        ({"durability": "sometimes"}, ValueError),
        ({"event_time_ns": "x"}, TypeError),
    ],
)
def test_a_wrong_argument_raises_also_on_a_lenient_bus(arguments, error):
    with pytest.raises(error):
        run(lenient().publish("risk_alert", 1, **arguments))


def test_a_flood_of_refusals_is_counted_but_not_a_flood_of_lines(caplog):
    bus = lenient()
    for _ in range(1_000):
        run_nothing = bus.publish("no_such_type", {})
        run_nothing.close()
    assert bus.metrics["events_rejected"] == 1_000
    assert 1 <= len(caplog.records) < 20


def test_a_breach_is_stored_marked_counted_and_said_once(caplog):
    async def act():
        bus = InMemoryBus()
        for _ in range(3):
            assert await bus.publish("trade_executed", {"symbol": "X"})
        await bus.publish("trade_executed", TRADE)
        await bus.publish("risk_alert", {})
        assert [event.schema_valid for event in bus.event_history] == [False, False, False, True, None]
        assert bus.metrics["schema_breaches"] == 3
        assert [event.schema_valid for event in await bus.replay_events()] == [
            False,
            False,
            False,
            True,
            None,
        ]

    with caplog.at_level(logging.WARNING):
        run(act())
    assert len([record for record in caplog.records if "schema" in record.getMessage()]) == 1


# Storage


def test_storage_errors_raise_also_on_a_lenient_bus(tmp_path):
    async def act():
        bus = EnhancedEventBus({"event_bus": {"storage_path": str(tmp_path)}})
        await bus.publish("risk_alert", 1)
        await bus.stop()
        with pytest.raises(aresbus.LogClosedError):
            await bus.publish("risk_alert", 2)
        with aresbus.open(tmp_path):
            other = EnhancedEventBus({"event_bus": {"storage_path": str(tmp_path)}})
            with pytest.raises(aresbus.LogLockedError):
                await other.publish("risk_alert", 3)

    run(act())


def test_publish_on_a_reader_raises(tmp_path):
    async def act():
        aresbus.open(tmp_path).close()
        async with EnhancedEventBus({"event_bus": {"storage_path": str(tmp_path)}}, mode="r") as bus:
            with pytest.raises(aresbus.StorageError):
                await bus.publish("risk_alert", 1)

    run(act())


def test_a_payload_over_the_limit_is_refused_and_one_over_the_first_segment_is_taken(tmp_path):
    async def act():
        async with make_bus(tmp_path, log_options={"segment_bytes": 4 << 20}) as bus:
            with pytest.raises(aresbus.LimitError) as caught:
                await bus.publish("risk_alert", "x" * (5 << 20))
            assert caught.value.got > caught.value.limit
            assert await bus.publish("risk_alert", "x" * (2 << 20))
            (event,) = await bus.replay_events()
            assert len(event.data) == 2 << 20

    run(act())


# Threads


def test_publish_from_many_threads_is_delivered_on_the_loop_in_log_order(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            seen, threads_seen = Seen(), set()

            def note(event):
                threads_seen.add(threading.get_ident())
                seen(event)

            bus.subscribe("risk_alert", note)

            def publish(who):
                for n in range(500):
                    bus.publish("risk_alert", [who, n]).close()

            await asyncio.gather(*(asyncio.to_thread(publish, who) for who in range(4)))
            await until(lambda: len(seen) == 2_000)
            assert threads_seen == {threading.get_ident()}
            assert [event.seq for event in seen.events] == list(range(2_000))
            for who in range(4):
                assert [n for by, n in seen if by == who] == list(range(500))

    run(act())


def test_a_publish_from_a_thread_wakes_an_idle_loop(tmp_path):
    async def act():
        async with make_bus(tmp_path, processing_interval=1000) as bus:
            seen = Seen()
            bus.subscribe("risk_alert", seen)
            await asyncio.sleep(0.01)
            thread = threading.Thread(target=lambda: bus.publish("risk_alert", time.time()).close())
            thread.start()
            await until(lambda: seen)
            thread.join()

    run(act())
