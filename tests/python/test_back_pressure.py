"""What a subscription does about lag: block publishers, drop the oldest, conflate, disconnect; each one counted."""

import asyncio
import threading

import pytest
from aresbus import BusStateError
from aresbus.subscriptions import Disconnected
from aresbus.testing import settled
from bus_support import make_bus, run, until


class Gated:
    """An async handler that takes its first event and holds it until the gate opens."""

    def __init__(self) -> None:
        self.gate, self.seen = asyncio.Event(), []

    async def __call__(self, event):
        await self.gate.wait()
        self.seen.append(event.data)


def described(bus) -> dict:
    return bus.get_status()["subscriptions"][0]


def test_drop_oldest_keeps_the_newest_and_never_the_one_in_hand(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            slow = Gated()
            bus.subscribe("risk_alert", slow, back_pressure="drop_oldest", max_lag=3)
            await bus.publish("risk_alert", 0)
            await until(lambda: described(bus)["lag"] == 1)
            await asyncio.sleep(0.01)
            for n in range(1, 11):
                await bus.publish("risk_alert", n)
            await asyncio.sleep(0.01)
            assert described(bus)["dropped"] == 7
            slow.gate.set()
            await settled(bus)
            assert slow.seen == [0, 8, 9, 10]

    run(act())


def test_conflating_keeps_the_newest_of_each_key(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            slow = Gated()
            bus.subscribe("risk_alert", slow, back_pressure="conflate", key=lambda event: event.data[0])
            await bus.publish("risk_alert", ["a", 0])
            await asyncio.sleep(0.01)
            for n in range(1, 4):
                for key in ("a", "b", None):
                    await bus.publish("risk_alert", [key, n])
            await asyncio.sleep(0.01)
            slow.gate.set()
            await settled(bus)
            assert slow.seen == [["a", 0], [None, 1], [None, 2], ["a", 3], ["b", 3], [None, 3]]
            assert described(bus)["dropped"] == 4

    run(act())


@pytest.mark.parametrize("waits_already", [False, True])
def test_a_key_that_cannot_be_hashed_conflates_nothing(tmp_path, waits_already):
    async def act():
        async with make_bus(tmp_path) as bus:
            keys, slow = ["a", []] if waits_already else [[]], Gated()
            bus.subscribe(
                "risk_alert", slow, back_pressure="conflate", key=lambda event: keys[event.data % len(keys)]
            )
            await bus.publish("risk_alert", 0)
            await until(lambda: described(bus)["lag"] == 1)
            await asyncio.sleep(0.01)
            for n in range(1, 5):
                await bus.publish("risk_alert", n)
            slow.gate.set()
            await settled(bus)
            assert bus.is_running
            assert slow.seen == ([0, 1, 3, 4] if waits_already else [0, 1, 2, 3, 4])

    run(act())


def test_a_key_function_that_raises_conflates_nothing(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            slow = Gated()
            bus.subscribe("risk_alert", slow, back_pressure="conflate", key=lambda event: event.data["no"])
            for n in range(4):
                await bus.publish("risk_alert", n)
            slow.gate.set()
            await settled(bus)
            assert slow.seen == [0, 1, 2, 3]

    run(act())


def test_disconnecting_ends_the_subscription_and_says_so(tmp_path, caplog):
    async def act():
        async with make_bus(tmp_path) as bus:
            slow, messages = Gated(), []
            mine = bus.subscribe(
                "risk_alert", slow, back_pressure="disconnect", max_lag=3, on_message=messages.append
            )
            await bus.publish("risk_alert", 0)
            await asyncio.sleep(0.01)
            for n in range(1, 10):
                await bus.publish("risk_alert", n)
            await until(lambda: not mine.is_active)
            slow.gate.set()
            await until(lambda: messages)
            assert isinstance(messages[0], Disconnected)
            assert messages[0].lag >= 4
            assert bus.subscriptions == []
            await settled(bus)
            assert slow.seen == [0], "the delivery under way finishes, no further one begins"
            assert "was disconnected" in caplog.text

    run(act())


def test_a_disconnected_durable_subscription_goes_on_where_it_was(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            slow = Gated()
            told = []
            mine = bus.subscribe(
                "risk_alert", slow, name="desk", back_pressure="disconnect", max_lag=2, on_message=told.append
            )
            await until(lambda: told)  # history is read without a bound
            await bus.publish("risk_alert", 0)
            await until(lambda: mine.current is not None)
            for n in range(1, 10):
                await bus.publish("risk_alert", n)
            await until(lambda: not mine.is_active and bus._delivery.frontier.dispatched == 10)
            slow.gate.set()
            await until(lambda: mine.busy_since is None and mine.memory is None)
            bus.log.sync()
            bus.subscribe("risk_alert", slow, name="desk")
            await until(lambda: 9 in slow.seen)
            assert slow.seen in ([*range(10)], [0, *range(10)]), "at least once"

    run(act())


def test_blocking_suspends_publishers_until_the_lag_is_under_its_bound(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            slow, published = Gated(), []
            mine = bus.subscribe("risk_alert", slow, back_pressure="block", max_lag=4)

            async def feed():
                for n in range(10):
                    await bus.publish("risk_alert", n)
                    published.append(n)

            feeding = asyncio.create_task(feed())
            await until(lambda: mine.blocked_count)
            await asyncio.sleep(0.02)
            assert len(published) == 4
            assert bus.log.last_seq == 4, "the append happened at the call"
            slow.gate.set()
            await feeding
            await settled(bus)
            assert slow.seen == list(range(10))

    run(act())


def test_blocking_holds_a_thread_that_publishes_without_a_loop(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            slow, published = Gated(), []
            mine = bus.subscribe("risk_alert", slow, back_pressure="block", max_lag=2)

            def feed():
                for n in range(6):
                    bus.publish("risk_alert", n)
                    published.append(n)

            thread = threading.Thread(target=feed)
            thread.start()
            await until(lambda: mine.blocked_count)
            await asyncio.sleep(0.02)
            assert published == [0, 1]
            slow.gate.set()
            await asyncio.to_thread(thread.join)
            await settled(bus)
            assert slow.seen == list(range(6))

    run(act())


def test_a_handler_that_feeds_itself_is_told_instead_of_waiting_for_itself(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            errors = []

            async def on_event(event):
                try:
                    for n in range(100):
                        await asyncio.wait_for(bus.publish("risk_alert", n), 5)
                except BusStateError as error:
                    errors.append(error)

            bus.subscribe("risk_alert", on_event, back_pressure="block", max_lag=5)
            await bus.publish("risk_alert", -1)
            await until(lambda: errors)
            assert "wait for itself" in str(errors[0])

    run(act())


def test_stopping_lets_blocked_publishers_go(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        async with bus:
            slow = Gated()
            mine = bus.subscribe("risk_alert", slow, back_pressure="block", max_lag=1)
            waiting = [asyncio.ensure_future(bus.publish("risk_alert", n)) for n in range(5)]
            await until(lambda: mine.blocked_count >= 1)
            await bus.stop(timeout=0)
            assert len(set(await asyncio.gather(*waiting))) == 5, "each is stored and has its id"

    run(act())


@pytest.mark.parametrize("durability", ["interval", "group"])
def test_nobody_waits_while_the_bus_does_not_run(tmp_path, durability):
    async def act():
        bus = make_bus(tmp_path, log_options={"durability": durability})
        await bus.initialize()
        bus.subscribe("risk_alert", Gated(), back_pressure="block", max_lag=1)
        for n in range(5):
            await bus.publish("risk_alert", n)
        await bus.stop()

    run(act())
