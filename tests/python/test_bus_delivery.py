"""Delivery: order, sharing, status, failing, hanging and self-ending handlers, lag, and what is counted."""

import asyncio
import logging
import time

import aresbus
import pytest
from aresbus import EventStatus, EventType, HandlerError
from aresbus.testing import InMemoryBus, settled
from bus_support import TRADE, Seen, make_bus, run, until


def fail(event):
    raise ValueError(event.data)


async def publish(bus, count, event_type="risk_alert", **keywords):
    for n in range(count):
        await bus.publish(event_type, n, **keywords)


# Who gets what


def test_handlers_get_the_very_object_that_history_holds():
    async def act():
        bus, sync, later = InMemoryBus(), Seen(), []

        async def on_event(event):
            later.append(event)

        bus.subscribe("risk_alert", sync)
        bus.subscribe(EventType.RISK_ALERT, on_event)
        await publish(bus, 3)
        await bus.settled()
        for a, b, c in zip(sync.events, later, bus.event_history, strict=True):
            assert a is b is c

    run(act())


def test_what_a_handler_tags_others_see():
    async def act():
        bus = InMemoryBus()
        bus.subscribe("risk_alert", lambda event: event.metadata.tags.update(seen="yes"))
        await publish(bus, 1)
        await bus.settled()
        assert bus.get_event_history(1)[0].metadata.tags == {"seen": "yes"}
        assert (await bus.replay_events())[0].metadata.tags == {}

    run(act())


def test_a_subscription_gets_its_type_from_now_on():
    async def act():
        bus, early, late = InMemoryBus(), Seen(), Seen()
        bus.subscribe("risk_alert", early)
        await publish(bus, 2)
        bus.subscribe("risk_alert", late)
        await publish(bus, 2)
        await publish(bus, 2, "system_error")
        await bus.settled()
        assert early == [0, 1, 0, 1]
        assert late == [0, 1]

    run(act())


def test_a_live_event_type_is_the_registered_object():
    async def act():
        kind = aresbus.register_event_type("delivered_type")
        bus, seen = InMemoryBus(), Seen()
        bus.subscribe("delivered_type", seen)
        await bus.publish("delivered_type", 1)
        await bus.settled()
        assert seen.events[0].event_type is kind

    run(act())


def test_appends_past_the_bus_are_delivered_in_log_order(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            seen = Seen()
            bus.subscribe("risk_alert", seen)
            for n in range(0, 300, 3):
                await bus.publish("risk_alert", n)
                bus.log.append("risk_alert", n + 1)
                bus.log.append_many([("risk_alert", n + 2), ("system_error", None)])
            await settled(bus)
            assert seen == list(range(300))
            assert bus.metrics["events_processed"] == 400

    run(act())


@pytest.mark.parametrize("wrong", ["no_such_type", ""])
def test_subscribing_to_an_unknown_type_raises(wrong):
    with pytest.raises(aresbus.UnknownEventTypeError):
        InMemoryBus().subscribe(wrong, print)


def test_subscribing_what_cannot_be_called_raises():
    with pytest.raises(TypeError, match="called"):
        InMemoryBus().subscribe("risk_alert", None)


def test_readings_of_subscriptions():
    async def act():
        bus, seen = InMemoryBus(), Seen()
        subscription = bus.subscribe("risk_alert", seen)
        assert bus.subscribers == {"risk_alert": [seen]}
        assert bus.subscriptions == [subscription]
        assert "risk_alert" in repr(subscription)
        await publish(bus, 3)
        assert (bus.event_queue.qsize(), bus.event_queue.empty()) == (3, False)
        assert bus.get_status()["subscriptions"][0]["lag"] == 3
        assert await bus.process_pending() == 3
        assert (bus.event_queue.qsize(), bus.event_queue.empty()) == (0, True)
        assert subscription.delivered_count == 3
        bus.unsubscribe("risk_alert", seen)
        assert bus.subscribers == {}

    run(act())


# Ending


def test_a_handler_may_unsubscribe_itself(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            seen = Seen()

            def once(event):
                seen(event)
                bus.unsubscribe("risk_alert", once)

            async def twice(event):
                seen(event)
                await asyncio.sleep(0)
                if len(seen) >= 3:
                    second.unsubscribe()

            bus.subscribe("risk_alert", once)
            second = bus.subscribe("risk_alert", twice)
            await publish(bus, 10)
            await settled(bus)
            assert sorted(seen) == [0, 0, 1]
            assert bus.subscribers == {}
            second.unsubscribe()

    run(act())


def test_unsubscribing_one_leaves_the_others():
    async def act():
        bus, first, second = InMemoryBus(), Seen(), Seen()
        bus.subscribe("risk_alert", first)
        bus.subscribe("risk_alert", second)
        bus.subscribe("system_error", first)
        bus.unsubscribe("risk_alert", first)
        bus.unsubscribe("risk_alert", first)
        await publish(bus, 1)
        await publish(bus, 1, "system_error")
        await bus.settled()
        assert first == [0]
        assert first.events[0].event_type == "system_error"
        assert second == [0]

    run(act())


# Status and counters


def test_status_goes_from_pending_to_processed_wanted_or_not():
    async def act():
        bus = InMemoryBus()
        bus.subscribe("risk_alert", Seen())
        await publish(bus, 1)
        await publish(bus, 1, "system_error")
        statuses = [event.metadata.status for event in bus.event_history]
        assert statuses == [EventStatus.PENDING] * 2
        await bus.settled()
        assert [entry["status"] for entry in bus.get_history(5)] == ["processed", "processed"]
        assert bus.metrics["events_processed"] == 2
        assert [event.metadata.status for event in await bus.replay_events()] == [EventStatus.PENDING] * 2

    run(act())


def test_one_subscriber_that_takes_the_event_makes_it_processed():
    async def act():
        bus, seen = InMemoryBus(), Seen()
        bus.subscribe("risk_alert", fail)
        bus.subscribe("risk_alert", seen)
        await publish(bus, 2)
        await bus.settled()
        assert seen == [0, 1]
        assert [event.metadata.status for event in bus.event_history] == [EventStatus.PROCESSED] * 2
        assert bus.metrics["events_failed"] == 0
        assert bus.metrics["deliveries_parked"] == 2

    run(act())


def test_an_event_fails_only_when_every_subscriber_failed():
    async def act():
        bus, statuses = InMemoryBus(), []

        def fail_too(event):
            statuses.append(event.metadata.status)
            raise KeyError(event.data)

        bus.subscribe("risk_alert", fail_too)
        bus.subscribe("risk_alert", fail)
        await publish(bus, 1)
        await bus.settled()
        assert statuses[0] is EventStatus.PENDING
        assert EventStatus.RETRYING in statuses
        assert bus.event_history[0].metadata.status is EventStatus.FAILED
        assert bus.metrics["events_failed"] == 1
        assert bus.metrics["events_processed"] == 1

    run(act())


# Failing


def test_a_failing_handler_is_retried_then_parked_and_the_cursor_moves_on(caplog):
    async def act():
        bus, tries = InMemoryBus(max_retry_count=2), []

        def on_event(event):
            tries.append((event.data, event.metadata.retry_count))
            if event.data == 0:
                raise ValueError("no zero")

        subscription = bus.subscribe("risk_alert", on_event)
        await publish(bus, 2)
        await bus.settled()
        assert tries == [(0, 0), (0, 1), (0, 2), (1, 0)]
        (parked,) = subscription.parked()
        assert (parked.event, parked.attempts) == (bus.event_history[0], 3)
        assert isinstance(parked.error, HandlerError)
        assert isinstance(parked.error.__cause__, ValueError)
        assert parked.error.seq == 0
        assert parked.error.event_id == bus.event_history[0].event_id
        assert "on_event" in parked.error.handler
        metrics = bus.metrics
        assert (
            metrics["deliveries_failed"],
            metrics["deliveries_retried"],
            metrics["deliveries_parked"],
        ) == (3, 2, 1)
        assert isinstance(bus.last_error, HandlerError)

    run(act())
    assert "AB0017" in caplog.text
    assert "no zero" in caplog.text


def test_a_retry_that_succeeds_is_a_delivery():
    async def act():
        bus, tries = InMemoryBus(), []

        async def on_event(event):
            tries.append(event.metadata.retry_count)
            await asyncio.sleep(0)
            if len(tries) < 3:
                raise OSError("not yet")

        subscription = bus.subscribe("risk_alert", on_event)
        await publish(bus, 1)
        await bus.settled()
        assert tries == [0, 1, 2]
        assert not subscription.parked()
        assert bus.event_history[0].metadata.status is EventStatus.PROCESSED

    run(act())


def test_a_failing_subscriber_delays_nobody_else(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_retry_count=5) as bus:
            seen = Seen()
            bus.subscribe("risk_alert", fail)
            bus.subscribe("risk_alert", seen)
            await publish(bus, 100)
            await until(lambda: len(seen) == 100)
            assert bus.metrics["deliveries_parked"] == 0
            await bus.stop(timeout=0)

    run(act())


def test_a_handler_that_awaits_something_cancelled_has_failed_and_goes_on():
    async def act():
        bus, seen = InMemoryBus(max_retry_count=0), Seen()

        async def on_event(event):
            if event.data == 0:
                gone = asyncio.get_running_loop().create_future()
                gone.cancel()
                await gone
            seen(event)

        subscription = bus.subscribe("risk_alert", on_event)
        await publish(bus, 2)
        await bus.settled()
        assert seen == [1]
        assert len(subscription.parked()) == 1

    run(act())


# Publishing from a handler


@pytest.mark.parametrize("is_async", [True, False])
def test_a_handler_may_publish(tmp_path, is_async):
    async def act():
        async with make_bus(tmp_path, log_options={"durability": "group"}) as bus:
            seen = Seen()

            async def later(event):
                if event.data < 50:
                    await bus.publish("risk_alert", event.data + 1)
                seen(event)

            def now(event):
                if event.data < 50:
                    bus.publish("risk_alert", event.data + 1).close()
                seen(event)

            bus.subscribe("risk_alert", later if is_async else now)
            await bus.publish("risk_alert", 0)
            await until(lambda: len(seen) == 51)
            assert seen == list(range(51))

    run(act())


def test_a_handler_that_returns_a_publication_has_it_awaited():
    async def act():
        bus, seen = InMemoryBus(), Seen()
        bus.subscribe("risk_alert", lambda event: bus.publish("system_error", event.data))
        bus.subscribe("system_error", seen)
        await publish(bus, 3)
        await bus.settled()
        assert seen == [0, 1, 2]

    run(act())


# Hanging


def test_an_async_handler_that_never_returns_delays_nobody_and_is_reported_at_stop(tmp_path, caplog):
    async def act():
        bus, seen = make_bus(tmp_path), Seen()
        was_cancelled = False

        async def hang(event):
            nonlocal was_cancelled
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                was_cancelled = True
                raise

        async with bus:
            hanging = bus.subscribe("risk_alert", hang)
            bus.subscribe("risk_alert", seen)
            await publish(bus, 100)
            await until(lambda: len(seen) == 100)
            assert bus.event_queue.qsize() == 100
            await bus.stop(timeout=0.05)
            assert was_cancelled
            assert not hanging.parked()
            assert bus.metrics["deliveries_cancelled"] == 1
            assert bus.last_error.seq == 0
            assert "hang" in bus.last_error.handler
            assert not bus.is_running

    run(act())
    assert "still busy" in caplog.text


def test_a_handler_that_ignores_its_cancellation_cannot_hold_up_the_stop(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("aresbus.runner.GRACE_SECONDS", 0.05)

    async def act():
        release = asyncio.Event()

        async def cling(event):
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        async with make_bus(tmp_path) as bus:
            bus.subscribe("risk_alert", cling)
            await publish(bus, 1)
            await asyncio.sleep(0.01)
            await bus.stop(timeout=0.01)
        with aresbus.open(tmp_path) as log:
            assert log.last_seq == 0
        release.set()
        await asyncio.sleep(0.01)

    run(act())
    assert "ignores its cancellation" in caplog.text


def test_a_sync_handler_that_holds_the_loop_is_reported(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("aresbus.watch.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("aresbus.watch.HoldWatcher.__init__.__defaults__", (0.1,), raising=False)
    statuses = []

    async def act():
        async with make_bus(tmp_path) as bus:

            def hold(event):
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline and bus.metrics["loop_holds"] == 0:
                    time.sleep(0.01)
                statuses.append(bus.get_status()["health"])

            bus.subscribe("risk_alert", hold)
            await publish(bus, 1)
            await settled(bus)
            await until(lambda: bus.get_status()["health"]["status"] == "healthy")
            assert bus.metrics["loop_holds"] == 1

    run(act())
    assert statuses[0]["status"] == "degraded"
    assert "hold" in statuses[0]["reasons"][0]
    assert "the loop is held" in caplog.text


# Lag


def test_a_lagging_subscription_reads_from_the_log_and_misses_nothing(tmp_path):
    async def act():
        async with make_bus(
            tmp_path, max_history=50, batch_size=7, log_options={"segment_bytes": 1 << 16}
        ) as bus:
            slow, quick, gate = Seen(), Seen(), asyncio.Event()

            async def on_event(event):
                await gate.wait()
                slow(event)

            subscription = bus.subscribe("risk_alert", on_event)
            bus.subscribe("risk_alert", quick)
            for n in range(3_000):
                await bus.publish("risk_alert" if n % 3 else "system_error", n)
            wanted = [n for n in range(3_000) if n % 3]
            await until(lambda: len(quick) == len(wanted))
            assert subscription.is_behind
            assert len(subscription.waiting) <= 50
            gate.set()
            await bus.publish("risk_alert", 3_001)
            await settled(bus)
            assert slow == quick == [*wanted, 3_001]
            assert not subscription.is_behind
            await bus.publish("risk_alert", 3_002)
            await settled(bus)
            assert slow.events[-1] is quick.events[-1]

    run(act())


def test_a_subscription_that_lags_behind_a_log_in_memory_says_what_it_lost(caplog):
    async def act():
        bus = aresbus.EnhancedEventBus(
            {"event_bus": {"enable_persistence": False, "max_history": 10}},
            log_options={"memory_bytes": 8 << 20},
        )
        seen, gate = Seen(), asyncio.Event()

        async def on_event(event):
            await gate.wait()
            seen(event)

        async with bus:
            bus.subscribe("risk_alert", on_event)
            for n in range(3_000):
                await bus.publish("risk_alert", [n, "x" * 10_000])
            gate.set()
            await settled(bus)
            numbers = [n for n, _ in seen]
            assert numbers == sorted(numbers)
            assert numbers[-1] == 2_999
            assert len(numbers) < 3_000
            assert bus.metrics["events_lost"] > 0

    run(act())
    assert "no longer kept" in caplog.text


def test_a_batch_ends_after_batch_size_events():
    async def act():
        bus, order = InMemoryBus(batch_size=2), []
        bus.subscribe("risk_alert", lambda event: order.append("a"))
        bus.subscribe("risk_alert", lambda event: order.append("b"))
        await publish(bus, 4)
        assert await bus.process_pending() == 4
        assert order == ["a", "a", "b", "b"]
        assert await bus.process_pending() == 4
        assert await bus.process_pending() == 0

    run(act())


# Readings


def test_histories_reach_beyond_max_history_into_the_log(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_history=3) as bus:
            for n in range(10):
                await bus.publish("trade_executed", {**TRADE, "n": n}, "strategy")
            assert [event.data["n"] for event in bus.event_history] == [7, 8, 9]
            assert [event.data["n"] for event in bus.get_event_history(2)] == [8, 9]
            assert [event.data["n"] for event in bus.get_event_history(5)] == [5, 6, 7, 8, 9]
            assert bus.get_event_history(5)[-1] is bus.event_history[-1]
            assert len(bus.get_event_history(100)) == 10
            assert bus.get_event_history(0) == []
            (entry,) = bus.get_history(1)
            assert set(entry) == {"timestamp", "event_id", "event_type", "source", "status"}
            assert (entry["event_type"], entry["source"]) == ("trade_executed", "strategy")

    run(act())


def test_status_and_metrics_have_what_the_contract_names(caplog):
    import json

    async def act():
        bus = InMemoryBus()
        bus.subscribe("risk_alert", Seen())
        await publish(bus, 5)
        await bus.settled()
        status = bus.get_status()
        json.dumps(status)
        assert {
            "metrics",
            "queue_size",
            "subscribers_count",
            "persistence_enabled",
            "snapshots_enabled",
            "last_error",
        } <= set(status)
        assert (status["queue_size"], status["subscribers_count"], status["last_error"]) == (0, 1, None)
        assert status["health"] == {"status": "healthy", "reasons": []}
        metrics = bus.get_metrics()
        assert {
            "events_processed",
            "events_failed",
            "events_rejected",
            "snapshots_created",
            "replays_performed",
        } <= set(metrics)
        assert metrics["latency_ns"]["count"] == 5
        assert (await bus.replay_events(), bus.metrics["replays_performed"])[1] == 1

    with caplog.at_level(logging.ERROR):
        run(act())


def test_the_classic_counters_count_with_metrics_off():
    async def act():
        bus = InMemoryBus(metrics_enabled=False)
        bus.subscribe("risk_alert", fail)
        await publish(bus, 1)
        await bus.settled()
        assert bus.get_metrics() == {
            "events_processed": 1,
            "events_failed": 1,
            "events_rejected": 0,
            "snapshots_created": 0,
            "replays_performed": 0,
        }

    run(act())
