"""Subscriptions on terms: what they select, where they begin, what they are told, how they acknowledge and back off."""

import asyncio
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from aresbus import BusStateError, ConfigError, EnhancedEventBus, Event, ManualClock, register_event_type
from aresbus.subscriptions import CaughtUp, FellBehind, Halted, Position
from aresbus.testing import settled
from bus_support import Seen, make_bus, run, until

register_event_type("order_opened")
register_event_type("order_filled")


def test_a_pattern_selects_every_type_that_begins_so(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            orders, everything = Seen(), Seen()
            bus.subscribe("order_*", orders)
            bus.subscribe("*", everything)
            for n, text in enumerate(("order_opened", "risk_alert", "order_filled")):
                await bus.publish(text, n)
            await settled(bus)
            assert (orders, everything) == ([0, 2], [0, 1, 2])
            assert set(bus.subscribers) == {"order_*", "*"}

    run(act())


def test_aggregate_tags_and_predicate_narrow_the_choice(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            of_a, tagged, even, failing = Seen(), Seen(), Seen(), Seen()
            bus.subscribe("risk_alert", of_a, aggregate_id="a")
            bus.subscribe("risk_alert", tagged, tags={"desk": "x", "book": "1"})
            bus.subscribe("risk_alert", even, where=lambda event: event.data % 2 == 0)
            picky = bus.subscribe("risk_alert", failing, where=lambda event: event.data["no"], max_retries=0)
            for n in range(4):
                tags = {"desk": "x", "book": "1", "more": "y"} if n == 3 else {"desk": "x"}
                await bus.publish("risk_alert", n, aggregate_id="ab"[n % 2], tags=tags)
            await settled(bus)
            assert (of_a, tagged, even, failing) == ([0, 2], [3], [0, 2], [])
            assert len(picky.parked()) == 4, "a predicate that raises fails as the callback does"

    run(act())


def test_an_event_that_no_predicate_wanted_is_processed(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            bus.subscribe("risk_alert", Seen(), where=lambda event: False)
            bus.subscribe("risk_alert", Seen(), where=lambda event: False)
            await bus.publish("risk_alert", 1)
            await settled(bus)
            assert bus.event_history[0].metadata.status == "processed"

    run(act())


@pytest.mark.parametrize("begin", ["start", 9, "time"])
def test_catching_up_from_a_place_meets_the_live_events_without_loss_or_repeat(tmp_path, begin):
    async def act():
        clock = ManualClock(1_700_000_000_000_000_000)
        async with make_bus(tmp_path, clock=clock, batch_size=3, max_history=10) as bus:
            for n in range(50):
                clock.advance_ns(1_000_000_000)
                await bus.publish("risk_alert", n)
            seen, messages = Seen(), []
            terms = (
                {"after": begin}
                if begin != "time"
                else {"since": datetime(2023, 11, 14, 22, 13, 31, tzinfo=UTC)}
            )
            bus.subscribe("risk_alert", seen, on_message=messages.append, **terms)
            for n in range(50, 80):
                await bus.publish("risk_alert", n)
                await asyncio.sleep(0)
            await settled(bus)
            first = 0 if begin == "start" else 10
            assert seen == list(range(first, 80))
            await until(lambda: any(isinstance(one, CaughtUp) for one in messages))

    run(act())


def test_a_subscription_that_falls_behind_says_so_and_when_it_caught_up(tmp_path):
    async def act():
        async with make_bus(tmp_path, max_history=5, batch_size=2) as bus:
            gate, seen = asyncio.Event(), []

            async def on_event(event):
                await gate.wait()
                seen.append(event.data)

            bus.subscribe("risk_alert", on_event, on_message=seen.append)
            for n in range(20):
                await bus.publish("risk_alert", n)
            await asyncio.sleep(0)
            gate.set()
            await settled(bus)
            await until(lambda: CaughtUp(19) in seen)
            behind = [one for one in seen if isinstance(one, FellBehind)]
            assert [one for one in seen if isinstance(one, int)] == list(range(20))
            assert len(behind) == 1
            assert seen.index(behind[0]) == behind[0].seq, "in its place among the events"
            assert seen[-1] == CaughtUp(19)

    run(act())


def test_position_messages_say_how_far_nothing_matched(tmp_path):
    async def act():
        async with make_bus(tmp_path, processing_interval=0.01) as bus:
            messages = []
            bus.subscribe("risk_alert", Seen(), on_message=messages.append)
            for n in range(10):
                await bus.publish("system_error", n)
            await until(lambda: messages and messages[-1] == Position(9))
            assert all(isinstance(one, Position) for one in messages)

    run(act())


def test_an_event_that_waits_for_its_acknowledgement_holds_its_own_subscription_only(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            held, others = Seen(), Seen()
            slow = bus.subscribe("risk_alert", held, ack="manual")
            bus.subscribe("risk_alert", others)
            for n in range(3):
                await bus.publish("risk_alert", n)
            await until(lambda: len(others) == 3)
            assert held == [0]
            await asyncio.to_thread(slow.ack, held.events[0])
            await until(lambda: len(held) == 2)
            slow.nack(held.events[1], "skip")
            await until(lambda: len(held) == 3)
            slow.ack(held.events[2])
            await settled(bus)
            assert (slow.delivered_count, slow.skipped_count) == (2, 1)
            with pytest.raises(Exception, match="not handling"):
                slow.ack(held.events[2])

    run(act())


def test_an_acknowledgement_that_does_not_come_is_a_failure(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            tries = []
            slow = bus.subscribe(
                "risk_alert",
                lambda event: tries.append((slow.attempt, type(slow.last_error))),
                ack="manual",
                ack_timeout=0.01,
                max_retries=2,
                back_off=(0.001, 0.002),
            )
            await bus.publish("risk_alert", 1)
            await settled(bus)
            assert tries == [(0, type(None)), (1, TimeoutError), (2, TimeoutError)]
            (parked,) = slow.parked()
            assert "not acknowledged within 0.01 s" in str(parked.error)

    run(act())


@pytest.mark.parametrize("action", ["retry", "park", "skip"])
def test_a_handler_may_say_what_becomes_of_its_event(tmp_path, action):
    async def act():
        async with make_bus(tmp_path) as bus:
            tries = []

            def on_event(event):
                tries.append(event.data)
                if len(tries) == 1:
                    mine.nack(event, action, "no mood")

            mine = bus.subscribe("risk_alert", on_event, back_off=(0.001, 0.001))
            await bus.publish("risk_alert", 1)
            await bus.publish("risk_alert", 2)
            await settled(bus)
            assert tries == ([1, 1, 2] if action == "retry" else [1, 2])
            assert len(mine.parked()) == (action == "park")
            assert mine.skipped_count == (action == "skip")
            if action == "park":
                assert "no mood" in str(mine.parked()[0].error)

    run(act())


def test_a_halted_subscription_stands_before_its_event_until_it_is_resumed(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            tries, messages, is_ready = [], [], False

            def on_event(event):
                tries.append(event.data)
                if not is_ready:
                    mine.nack(event, "halt", "the broker is closed")

            mine = bus.subscribe("risk_alert", on_event, on_message=messages.append)
            for n in range(3):
                await bus.publish("risk_alert", n)
            await until(lambda: messages == [Halted(0, "the broker is closed")])
            await asyncio.sleep(0.02)
            assert tries == [0]
            status = bus.get_status()
            assert status["subscriptions"][0]["halted"] == "the broker is closed"
            assert "stands still" in status["last_error"]
            assert (bus.last_error.handler, bus.last_error.seq) == (mine.name, 0)
            assert status["health"]["status"] == "degraded"
            assert "the broker is closed" in status["health"]["checks"]["handlers"]["reason"]
            is_ready = True
            mine.resume()
            await settled(bus)
            assert tries == [0, 0, 1, 2]
            assert bus.check_health().checks["handlers"].status == "healthy"

    run(act())


def test_a_message_handler_that_fails_is_reported_and_changes_nothing(tmp_path, caplog):
    async def act():
        async with make_bus(tmp_path) as bus:
            await bus.publish("risk_alert", 0)
            seen = Seen()

            def on_message(message):
                raise ValueError(message)

            bus.subscribe("risk_alert", seen, after="start", on_message=on_message)
            await settled(bus)
            await until(lambda: "failed on the message CaughtUp" in caplog.text)
            assert seen == [0]

    run(act())


def test_parked_deliveries_can_be_delivered_again_or_dropped(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            is_ready, seen = False, []

            def on_event(event):
                if not is_ready and event.data != 2:
                    raise OSError("closed")
                seen.append(event.data)

            mine = bus.subscribe("risk_alert", on_event, max_retries=0)
            for n in range(4):
                await bus.publish("risk_alert", n)
            await settled(bus)
            assert [one.event.data for one in mine.parked()] == [0, 1, 3]
            assert await mine.redeliver_parked() == (0, 3)
            assert [one.attempts for one in mine.parked()] == [2, 2, 2]
            is_ready = True
            assert mine.drop_parked(seq=3) == 1
            assert await mine.redeliver_parked(seq=1) == (1, 0)
            assert await mine.redeliver_parked() == (1, 0)
            assert (seen, mine.parked()) == ([2, 1, 0], [])

    run(act())


def test_wrong_terms_are_all_named_at_once():
    bus = EnhancedEventBus({"event_bus": {"enable_persistence": False}})
    wrong = {
        "name": "",
        "after": -1,
        "since": datetime(2024, 1, 1),  # noqa: DTZ001 - naive on purpose
        "on_message": 1,
        "ack": "later",
        "ack_timeout": 0,
        "max_retries": -1,
        "back_off": (1, float("nan")),
        "key": None,
        "back_pressure": "hope",
        "max_lag": 0,
        "unknown_versions": "guess",
    }
    with pytest.raises(ConfigError) as caught:
        bus.subscribe("risk_alert", print, **wrong)
    named = {re.split(r"[: ]", one)[0] for one in caught.value.problems}
    assert named == set(wrong)
    with pytest.raises(ConfigError, match="one of them says where it begins"):
        bus.subscribe("risk_alert", print, after=1, since=datetime.now(UTC) - timedelta(1))
    with pytest.raises(TypeError, match="cannot be called"):
        bus.subscribe("risk_alert", print, where=1)


def test_a_verdict_of_another_thread_counts_or_is_refused(tmp_path):
    asked, may_answer = threading.Event(), threading.Event()

    class Hesitant(Event):
        """Asked for its position while the verdict is being given, it answers once the callback has returned."""

        @property
        def seq(self):
            asked.set()
            assert may_answer.wait(10)
            return 0

    async def act():
        async with make_bus(tmp_path) as bus:
            refused = []

            def give():
                try:
                    mine.nack(Hesitant("risk_alert", 0), "skip")
                except BusStateError as error:
                    refused.append(error)

            def take(event):
                threads.append(threading.Thread(target=give))
                threads[0].start()
                assert asked.wait(10)

            threads: list[threading.Thread] = []
            mine = bus.subscribe("risk_alert", take)
            await bus.publish("risk_alert", 0)
            await settled(bus)
            may_answer.set()
            threads[0].join()
            assert len(refused) == 1, "it came when the event was taken already"
            assert (mine.skipped_count, mine.delivered_count) == (0, 1)

    run(act())
