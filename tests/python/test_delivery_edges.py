"""Where a delivery may go wrong at its edges: ended, halted, cancelled, tried again, late, or out of its turn."""

import asyncio

import pytest
from aresbus import BusStateError
from aresbus.subscriptions import CaughtUp
from aresbus.testing import settled
from bus_support import Seen, make_bus, publish, run, until

QUICK = {"back_off": (0.001, 0.001)}


def test_an_event_that_failed_is_not_passed_because_its_subscription_ended(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:

            def give_up(event):
                mine.unsubscribe()
                raise OSError("not now")

            mine = bus.subscribe("risk_alert", give_up, name="desk", **QUICK)
            await publish(bus, 1)
            await until(lambda: mine.busy_since is None and mine.memory is None)
            bus.log.sync()
            seen = Seen()
            bus.subscribe("risk_alert", seen, name="desk")
            await until(lambda: seen)
            assert seen == [1]

    run(act())


def test_a_callback_may_unsubscribe_itself_and_acknowledge_by_hand_afterwards(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            held = []

            def on_event(event):
                mine.unsubscribe()
                held.append(event)

            mine = bus.subscribe("risk_alert", on_event, name="desk", ack="manual")
            await publish(bus, 1, 2)
            await until(lambda: held)
            await asyncio.to_thread(mine.ack, held[0])
            await until(lambda: mine.memory is None)
            bus.log.sync()
            seen = Seen()
            bus.subscribe("risk_alert", seen, name="desk")
            await until(lambda: 2 in seen)
            assert (mine.delivered_count, len(held)) == (1, 1)

    run(act())


def test_resuming_in_the_very_moment_of_the_halt_passes_nothing(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        tries = []

        def on_event(event):
            tries.append(event.data)
            if len(tries) == 1:
                mine.nack(event, "halt", "wait")

        mine = bus.subscribe("risk_alert", on_event)
        report, troubles = bus._troubles.report, bus._troubles

        def resume_at_once(kind, *rest, **keywords):
            report(kind, *rest, **keywords)
            if kind.startswith("halted"):
                mine.resume()

        troubles.report = resume_at_once
        await publish(bus, 1, 2)
        while not bus.event_queue.empty():
            await bus.process_pending()
        assert tries == [1, 1, 2]
        await bus.stop()

    run(act())


def test_the_event_before_which_a_subscription_halts_outlives_a_redelivery(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            tries, gate = [], asyncio.Event()

            async def on_event(event):
                tries.append(event.data)
                if event.data == 0 and tries.count(0) == 1:
                    mine.nack(event, "park")
                if event.data == 1 and tries.count(1) == 1:
                    await gate.wait()
                    mine.nack(event, "halt")

            mine = bus.subscribe("risk_alert", on_event)
            await publish(bus, 0, 1, 2)
            await until(lambda: 1 in tries)
            again = asyncio.create_task(mine.redeliver_parked())
            await asyncio.sleep(0.01)
            gate.set()
            with pytest.raises(BusStateError, match="halted"):
                await again
            mine.resume()
            await settled(bus)
            assert tries == [0, 1, 1, 2]
            assert await mine.redeliver_parked() == (1, 0)
            assert tries == [0, 1, 1, 2, 0]

    run(act())


def test_an_event_whose_delivery_was_cancelled_outlives_a_redelivery(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        tries, hangs = [], True

        async def on_event(event):
            tries.append(event.data)
            if event.data == 0 and tries.count(0) == 1:
                mine.nack(event, "park")
            if event.data == 1 and hangs:
                await asyncio.Event().wait()

        mine = bus.subscribe("risk_alert", on_event)
        running = asyncio.create_task(bus.run())
        await publish(bus, 0, 1, 2)
        await until(lambda: 1 in tries)
        running.cancel()
        await asyncio.wait([running])
        hangs = False
        assert await mine.redeliver_parked() == (1, 0)
        while not bus.event_queue.empty():
            await bus.process_pending()
        assert tries == [0, 1, 0, 1, 2]
        await bus.stop()

    run(act())


def test_a_redelivery_does_not_move_the_cursor(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            lags = []

            def on_event(event):
                lags.append(bus.get_status()["subscriptions"][0]["lag"])
                if len(lags) == 1:
                    mine.nack(event, "park")

            mine = bus.subscribe("risk_alert", on_event)
            await publish(bus, *range(5))
            await settled(bus)
            assert await mine.redeliver_parked() == (1, 0)
            assert lags[-1] == 0

    run(act())


def test_what_was_dropped_or_redelivered_meanwhile_is_not_delivered_again(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            seen, is_ready = [], False

            async def on_event(event):
                await asyncio.sleep(0)
                if not is_ready:
                    raise OSError("closed")
                seen.append(event.data)

            mine = bus.subscribe("risk_alert", on_event, max_retries=0)
            await publish(bus, 0, 1, 2)
            await settled(bus)
            is_ready = True
            first = asyncio.create_task(mine.redeliver_parked(seq=0))
            second = asyncio.create_task(mine.redeliver_parked())
            await asyncio.sleep(0)
            assert mine.drop_parked(seq=2) == 1
            assert (await first, await second) == ((1, 0), (1, 0))
            assert seen == [0, 1]

    run(act())


def test_who_waits_for_a_redelivery_hears_that_the_bus_stopped(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        running = asyncio.create_task(bus.run())
        tries = []

        async def on_event(event):
            tries.append(event.data)
            if event.data == 0:
                mine.nack(event, "park")
            else:
                await asyncio.Event().wait()

        mine = bus.subscribe("risk_alert", on_event)
        await publish(bus, 0, 1)
        await until(lambda: 1 in tries)
        again = asyncio.create_task(mine.redeliver_parked())
        await asyncio.sleep(0.01)
        await bus.stop(timeout=0)
        with pytest.raises(BusStateError, match="stopped"):
            await again
        await running

    run(act())


@pytest.mark.parametrize("ends", [False, True])
def test_who_waits_for_a_redelivery_hears_that_a_pass_was_cancelled_and_the_bus_stopped(tmp_path, ends):
    async def act():
        bus, tries = make_bus(tmp_path), []
        await bus.initialize()

        async def on_event(event):
            tries.append(event.data)
            if event.data == 0:
                mine.nack(event, "park")
            else:
                await asyncio.Event().wait()

        mine = bus.subscribe("risk_alert", on_event)
        await publish(bus, 0, 1)
        passing = asyncio.create_task(bus.process_pending())
        await until(lambda: 1 in tries)
        again = asyncio.create_task(mine.redeliver_parked())
        await asyncio.sleep(0)
        if ends:
            mine.unsubscribe()
        passing.cancel()
        await asyncio.wait([passing])
        await bus.stop()
        with pytest.raises(BusStateError, match="stopped"):
            await again
        if ends:
            with pytest.raises(BusStateError, match="ended"):
                await mine.redeliver_parked()

    run(act())


def test_an_acknowledgement_after_its_time_is_refused(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            held = []
            mine = bus.subscribe(
                "risk_alert", held.append, ack="manual", ack_timeout=0.01, back_off=(0.5, 0.5)
            )
            await publish(bus, 1)
            await until(lambda: mine.attempt == 1 and held)
            with pytest.raises(BusStateError, match="its time was up"):
                mine.ack(held[0])
            await until(lambda: len(held) == 2)
            mine.ack(held[1])
            await settled(bus)

    run(act())


def test_the_last_error_is_of_the_event_in_hand(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            errors = []

            def on_event(event):
                errors.append((event.data, mine.attempt, type(mine.last_error)))
                if event.data == 1 and mine.attempt == 0:
                    raise OSError("once")
                if event.data == 2:
                    mine.nack(event, "park", "no mood")

            mine = bus.subscribe("risk_alert", on_event, **QUICK)
            await publish(bus, 1, 2)
            await settled(bus)
            assert errors == [(1, 0, type(None)), (1, 1, OSError), (2, 0, type(None))]
            assert mine.parked()[0].error.__cause__ is None

    run(act())


def test_a_message_handler_that_awaits_something_cancelled_holds_up_nothing(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await publish(bus, *range(3))
            seen = Seen()

            async def on_message(message):
                lost = asyncio.get_running_loop().create_future()
                lost.cancel()
                await lost

            bus.subscribe("risk_alert", seen, after="start", on_message=on_message)
            await settled(bus)
            assert seen == [0, 1, 2]
            mine = bus.subscriptions[0]
            await until(lambda: mine.task is None)
            assert not mine.pending_messages

    run(act())


def test_a_message_whose_handler_was_cancelled_is_told_again(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        told, hangs = [], True

        async def on_message(message):
            told.append(message)
            if hangs:
                await asyncio.Event().wait()

        bus.subscribe("risk_alert", Seen(), after="start", on_message=on_message)
        running = asyncio.create_task(bus.run())
        await until(lambda: told)
        running.cancel()
        await asyncio.wait([running])
        hangs = False
        await bus.process_pending()
        assert told == [CaughtUp(None), CaughtUp(None)]
        await bus.stop()

    run(act())


def test_a_handler_that_stops_the_bus_gets_nothing_more(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        seen = []

        async def on_event(event):
            seen.append(event.data)
            await bus.stop(timeout=0)

        bus.subscribe("risk_alert", on_event)
        await bus.initialize()
        running = asyncio.create_task(bus.run())
        await publish(bus, 1, 2, 3)
        await running
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert seen == [1]

    run(act())


def test_a_handler_that_swallows_its_cancellation_gets_nothing_more(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        seen = []

        async def on_event(event):
            seen.append(event.data)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

        bus.subscribe("risk_alert", on_event)
        await bus.initialize()
        running = asyncio.create_task(bus.run())
        await publish(bus, 1, 2, 3)
        await until(lambda: seen)
        await bus.stop(timeout=0)
        await running
        assert seen == [1]

    run(act())


def test_a_pass_beside_the_run_does_not_make_the_loop_spin(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            gate, seen = asyncio.Event(), []

            async def on_event(event):
                seen.append(event.data)
                await gate.wait()

            mine = bus.subscribe("risk_alert", on_event)
            drains, drain = [], bus._delivery.drain

            async def counted(*arguments):
                drains.append(1)
                return await drain(*arguments)

            bus._delivery.drain = counted
            bus.publish("risk_alert", 1).close()
            beside = asyncio.create_task(bus.process_pending())
            await until(lambda: seen)
            await publish(bus, 2)
            await asyncio.sleep(0.05)
            assert len(drains) < 5
            gate.set()
            await beside
            await settled(bus)
            assert (seen, mine.has_work) == ([1, 2], False)

    run(act())


def test_a_delivery_that_cannot_be_parked_halts_its_subscription_alone(tmp_path, caplog):
    async def act():
        async with make_bus(tmp_path) as bus:
            others, is_ready = Seen(), False

            def on_event(event):
                if not is_ready:
                    raise ValueError("no")

            mine = bus.subscribe("risk_alert", on_event, name="desk", max_retries=0)
            bus.subscribe("risk_alert", others)

            def failing(delivery):
                raise OSError(28, "no space left")

            mine.memory.park = failing
            await publish(bus, 1, 2)
            await until(lambda: mine.halted_for is not None and len(others) == 2)
            assert "no space left" in mine.halted_for
            is_ready = True
            mine.resume()
            await settled(bus)
            assert mine.delivered_count == 2

    run(act())
