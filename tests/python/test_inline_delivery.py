"""Delivery inside a publish: before the publisher goes on, in order, and never at the publisher's expense."""

import asyncio
import functools
import threading

import aresbus
import pytest
from aresbus import ConfigError
from aresbus.testing import settled
from bus_support import TRADE, Seen, make_bus, publish, run, turning, until

QUICK = {"back_off": (0.001, 0.001)}


def test_the_callback_has_run_when_publish_returns(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            seen, late = Seen(), Seen()
            bus.subscribe("risk_alert", seen, inline=True)
            bus.subscribe("risk_alert", late)
            awaitable = bus.publish("risk_alert", 1)
            assert (seen, late) == ([1], [])
            await awaitable
            await settled(bus)
            assert (seen, late) == ([1], [1])
            assert bus.get_metrics()["events_processed"] == 1

    run(act())


def test_it_gets_the_event_that_was_stored_and_speaks_for_it(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)

            def on_trade(event):
                assert bus.log.last_seq == event.seq
                bus.publish("risk_alert", {"of": event.seq})

            bus.subscribe("trade_executed", on_trade, inline=True)
            with aresbus.correlate("conversation"):
                first = await bus.publish("trade_executed", TRADE)
                second = await bus.publish("market_data_received", {"symbol": "A", "price": 1, "volume": 1})
            trade, alert, other = bus.log.read()
            assert (trade.event_id, other.event_id) == (first, second)
            assert (alert.correlation_id, alert.metadata.causation_id) == ("conversation", first)
            assert other.metadata.causation_id is None, "what spoke for the event speaks no longer"

    run(act())


def test_what_an_inline_callback_publishes_comes_after_it_has_returned(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            steps = []

            def chained(event):
                steps.append(("begins", event.data))
                if event.data < 3:
                    bus.publish("risk_alert", event.data + 1)
                steps.append(("ends", event.data))

            bus.subscribe("risk_alert", chained, inline=True)
            bus.publish("risk_alert", 0)
            assert steps == [(what, n) for n in range(4) for what in ("begins", "ends")]

    run(act())


def test_a_chain_without_end_gives_the_loop_its_turn(tmp_path):
    async def act():
        async with make_bus(tmp_path, batch_size=10) as bus:
            await turning(bus)
            count = 0

            def endless(event):
                nonlocal count
                count += 1
                if bus.is_running:
                    bus.publish("risk_alert", count)

            bus.subscribe("risk_alert", endless, inline=True)
            bus.publish("risk_alert", 0)
            assert count == 10
            await asyncio.sleep(0.02)
            assert count > 10
            for one in bus.subscribers["risk_alert"]:
                bus.unsubscribe("risk_alert", one)

    run(act())


def test_what_other_threads_published_before_comes_before(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            seen, threads = [], set()

            def note(event):
                seen.append(event.data)
                threads.add(threading.get_ident())

            bus.subscribe("risk_alert", note, inline=True)
            publisher = threading.Thread(target=lambda: [bus.publish("risk_alert", n) for n in range(500)])
            publisher.start()
            publisher.join()
            assert seen == [], "they are for the loop"
            for n in range(500, 600):
                await bus.publish("risk_alert", n)
            await settled(bus)
            assert seen == list(range(600))
            assert threads == {threading.get_ident()}

    run(act())


def test_publishing_from_many_threads_and_the_loop_keeps_the_order_of_the_log(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_history=64) as bus:
            await turning(bus)
            seqs = []
            bus.subscribe("risk_alert", lambda event: seqs.append(event.seq), inline=True)

            def work():
                for n in range(2_000):
                    bus.publish("risk_alert", n)

            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            for n in range(2_000):
                await bus.publish("risk_alert", n)
                if n % 50 == 0:
                    await asyncio.sleep(0)
            await asyncio.to_thread(lambda: [thread.join() for thread in threads])
            await settled(bus)
            assert seqs == list(range(8_000))

    run(act())


def test_a_failing_callback_is_tried_again_and_parked_in_its_own_turn(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_retry_count=2) as bus:
            await turning(bus)
            tries, beside = [], Seen()

            def fail(event):
                tries.append((event.data, mine.attempt))
                if event.data == 1:
                    raise ValueError("not this one")

            mine = bus.subscribe("risk_alert", fail, inline=True, **QUICK)
            bus.subscribe("risk_alert", beside, inline=True)
            for n in (1, 2, 3):
                assert await bus.publish("risk_alert", n), "its failure is no error of the publisher's"
                assert beside[-1] == n, "nor of the others'"
            await until(lambda: mine.parked_count == 1)
            await settled(bus)
            assert tries == [(1, 0), (1, 1), (1, 2), (2, 0), (3, 0)]
            await bus.publish("risk_alert", 4)
            assert tries[-1] == (4, 0), "it is inline again"
            [parked] = mine.parked()
            assert "ValueError" in str(parked.error)

    run(act())


def test_an_interrupt_in_a_callback_goes_to_the_publisher_once_all_have_the_event(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            beside, tries = Seen(), []

            def interrupt(event):
                tries.append(event.data)
                if len(tries) == 1:
                    raise KeyboardInterrupt

            bus.subscribe("risk_alert", interrupt, inline=True)
            bus.subscribe("risk_alert", beside, inline=True)
            with pytest.raises(KeyboardInterrupt):
                bus.publish("risk_alert", 1)
            assert beside == [1]
            await settled(bus)
            assert (tries, beside) == ([1, 1], [1]), "not taken, so it came again; to nobody else"

    run(act())


def test_a_verdict_given_inside_holds(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)

            def judge(event):
                mine.nack(event, event.data)

            mine = bus.subscribe("risk_alert", judge, inline=True)
            await bus.publish("risk_alert", "skip")
            await until(lambda: mine.skipped_count == 1)
            await bus.publish("risk_alert", "park")
            await until(lambda: mine.parked_count == 1)
            await bus.publish("risk_alert", "halt")
            await until(lambda: mine.halted_for is not None)
            await bus.publish("risk_alert", "skip")
            assert mine.skipped_count == 1, "it stands still"

    run(act())


def test_unsubscribing_inside_ends_it(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            seen = []

            def once(event):
                seen.append(event.data)
                mine.unsubscribe()
                bus.publish("risk_alert", 2)

            mine = bus.subscribe("risk_alert", once, inline=True)
            await bus.publish("risk_alert", 1)
            await settled(bus)
            assert seen == [1]

    run(act())


def test_selection_versions_and_begin_hold_as_for_any_subscription(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            await publish(bus, 0)
            await settled(bus)
            mine, history = Seen(), Seen()
            bus.subscribe("risk_*", mine, inline=True, aggregate_id="a")
            bus.subscribe("risk_alert", history, inline=True, after="start")
            await publish(bus, 1, aggregate_id="a")
            await publish(bus, 2, aggregate_id="b")
            await settled(bus)
            assert (mine, history) == ([1], [0, 1, 2])
            await publish(bus, 3, aggregate_id="a")
            assert (mine, history) == ([1, 3], [0, 1, 2, 3])

    run(act())


def test_what_cannot_be_inline_is_refused_all_at_once(tmp_path):
    async def coroutine(event):
        pass

    async def act():
        async with make_bus(tmp_path) as bus:
            with pytest.raises(ConfigError) as caught:
                bus.subscribe("risk_alert", coroutine, inline=True, name="desk", where=bool)
            assert len(caught.value.problems) == 3
            with pytest.raises(ConfigError, match="inline"):
                bus.subscribe("risk_alert", print, inline=True, back_pressure="block")
            with pytest.raises(ConfigError, match="inline"):
                bus.subscribe("risk_alert", functools.partial(coroutine), inline=True)

    run(act())


def test_a_callback_whose_result_wants_to_be_awaited_is_parked(tmp_path):
    async def later(event):
        pass

    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            mine = bus.subscribe("risk_alert", lambda event: (event, later(event))[1], inline=True)
            await bus.publish("risk_alert", 1)
            await until(lambda: mine.parked_count == 1)
            assert "nothing awaits there" in str(mine.parked()[0].error)

    run(act())


def test_events_published_before_the_bus_runs_and_after_it_stopped_are_not_inline(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        seen = Seen()
        bus.subscribe("risk_alert", seen, inline=True)
        await bus.publish("risk_alert", 1)
        assert seen == []
        assert await bus.process_pending() == 1
        running = asyncio.create_task(bus.run())
        await turning(bus)
        await bus.publish("risk_alert", 2)
        assert seen == [1, 2]
        await bus.stop()
        await running
        await bus.initialize()
        await bus.publish("risk_alert", 3)
        assert seen == [1, 2]
        await bus.process_pending()
        assert seen == [1, 2, 3]
        await bus.stop()

    run(act())
