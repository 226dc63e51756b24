"""The short way of an event inside its publish, which the engine goes alone: nobody can tell it from the long one.

The first event of a type goes the long way and opens the short one, so each test publishes more than one.
"""

import asyncio
import contextvars
import gc
import logging
import random
import sys
import threading
import time
import weakref

import pytest
from aresbus.delivery.inline import Inline
from aresbus.events import EventStatus
from aresbus.testing import settled
from bus_support import Seen, make_bus, run, turning, until

QUICK = {"back_off": (0.001, 0.001)}
TYPES = ("risk_alert", "trade_executed", "performance_update")


def short_ways(bus) -> set[str]:
    return {str(one) for one in bus._delivery.frontier.ready}


def with_a_step(bus):
    """Alerts are published in version 1.1.0 from now on; one of 1.0.0 has to be brought forward, in a turn of its own."""
    bus.version_manager.register("risk_alert", {}, version="1.0.0")

    @bus.version_manager.upcaster("risk_alert", "1.0.0", "1.1.0")
    def newer(data):
        return {"was": data}

    bus.version_manager.register("risk_alert", {"type": "object"}, version="1.1.0", current=True)


async def opened(bus, event_type="risk_alert"):
    """Publish until the type has its short way."""
    await bus.publish(event_type, 0)
    assert event_type in short_ways(bus)


def test_it_is_gone_from_the_second_event_on_and_what_it_says_is_the_same(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            seen = Seen()
            mine = bus.subscribe("risk_alert", seen, inline=True)
            await opened(bus)
            data = {"n": 1}
            bus.publish("risk_alert", data)
            live = seen.events[-1]
            assert live.data is data
            assert live is bus.get_event_history(limit=1)[0]
            assert live.metadata.status is EventStatus.PROCESSED
            assert (mine.delivered_count, mine.current, mine.busy_since) == (2, None, None)
            metrics = bus.get_metrics()
            assert (
                metrics["events_published"] == metrics["events_delivered"] == metrics["events_processed"] == 2
            )
            assert metrics["latency_ns"]["count"] == 2
            assert bus.event_queue.empty()

    run(act())


def test_an_event_that_nobody_wants_is_processed_on_it_too(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            bus.subscribe("risk_alert", Seen(), inline=True)
            await opened(bus, "trade_executed")
            await bus.publish("trade_executed", 1)
            assert bus.get_event_history(limit=1)[0].metadata.status is EventStatus.PROCESSED
            assert bus.get_metrics()["events_processed"] == 2

    run(act())


@pytest.mark.parametrize("how", ["raises", "is a coroutine", "says so"])
def test_who_fails_on_it_is_tried_again_in_its_own_turn_and_the_others_have_the_event(tmp_path, how):
    async def later():
        pass

    async def act():
        async with make_bus(tmp_path, max_retry_count=1) as bus:
            await turning(bus)
            tries, beside = [], Seen()

            def callback(event):
                tries.append((event.data, mine.attempt))
                if event.data == 1 and how == "raises":
                    raise ValueError("not this one")
                if event.data == 1 and how == "says so":
                    mine.nack(event, "park", "not this one")
                return later() if event.data == 1 and how == "is a coroutine" else None

            mine = bus.subscribe("risk_alert", callback, inline=True, **QUICK)
            bus.subscribe("risk_alert", beside, inline=True)
            await opened(bus)
            for n in (1, 2):
                assert await bus.publish("risk_alert", n)
                assert beside[-1] == n
            await until(lambda: mine.parked_count == 1)
            await settled(bus)
            again = [(1, 1)] if how == "raises" else []
            assert tries == [(0, 0), (1, 0), *again, (2, 0)]
            await bus.publish("risk_alert", 3)
            assert tries[-1] == (3, 0), "it is inline again"
            assert "risk_alert" in short_ways(bus)

    run(act())


def test_an_interrupt_goes_to_the_publisher_and_the_event_comes_again(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            tries, beside = [], Seen()

            def interrupt(event):
                tries.append(event.data)
                if tries == [0, 1]:
                    raise KeyboardInterrupt

            bus.subscribe("risk_alert", interrupt, inline=True)
            bus.subscribe("risk_alert", beside, inline=True)
            await opened(bus)
            with pytest.raises(KeyboardInterrupt):
                bus.publish("risk_alert", 1)
            await settled(bus)
            assert (tries, beside) == ([0, 1, 1], [0, 1])

    run(act())


def test_who_is_unsubscribed_by_another_callback_does_not_get_the_event(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            first, second = Seen(), Seen()

            def ends_the_other(event):
                first(event)
                if event.data == 1:
                    other.unsubscribe()
                    mine.unsubscribe()

            mine = bus.subscribe("risk_alert", ends_the_other, inline=True)
            other = bus.subscribe("risk_alert", second, inline=True)
            await opened(bus)
            await bus.publish("risk_alert", 1)
            await bus.publish("risk_alert", 2)
            assert (first, second) == ([0, 1], [0])
            assert mine.delivered_count == 2
            await settled(bus)

    run(act())


def test_a_subscription_without_inline_ends_it_and_loses_nothing(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            now, then = Seen(), Seen()
            bus.subscribe("risk_alert", now, inline=True)
            await opened(bus)
            bus.subscribe("risk_alert", then)
            for n in (1, 2):
                await bus.publish("risk_alert", n)
                assert now[-1] == n
            await settled(bus)
            assert (now, then) == ([0, 1, 2], [1, 2])
            assert short_ways(bus) == set()

    run(act())


def test_a_step_that_is_registered_later_is_made(tmp_path):
    async def act():
        async with make_bus(tmp_path, schema_validation=False) as bus:
            await turning(bus)
            seen = Seen()
            bus.subscribe("risk_alert", seen, inline=True)
            await opened(bus)
            with_a_step(bus)
            await bus.publish("risk_alert", {"n": 1}, schema_version="1.0.0")
            await settled(bus)
            await bus.publish("risk_alert", {"n": 2})
            await settled(bus)
            assert seen == [0, {"was": {"n": 1}}, {"n": 2}]

    run(act())


def test_the_callback_has_the_context_of_the_publisher_and_leaves_nothing_in_it(tmp_path):
    variable = contextvars.ContextVar("variable", default="nothing")

    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            found = []

            def callback(event):
                found.append(variable.get())
                variable.set("left behind")

            bus.subscribe("risk_alert", callback, inline=True)
            variable.set("the publisher's")
            for n in range(3):
                await bus.publish("risk_alert", n)
                assert variable.get() == "the publisher's"
            assert found == ["the publisher's"] * 3

    run(act())


def test_a_task_that_it_starts_speaks_for_its_event(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            tasks = []

            async def answer(event):
                await bus.publish("trade_executed", event.data)

            bus.subscribe(
                "risk_alert", lambda event: tasks.append(asyncio.create_task(answer(event))), inline=True
            )
            alerts = [await bus.publish("risk_alert", n) for n in range(3)]
            await asyncio.gather(*tasks)
            answers = list(bus.log.read(types="trade_executed"))
            assert [one.causation_id for one in answers] == alerts

    run(act())


def test_a_callback_that_holds_the_loop_is_named(tmp_path, caplog):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)

            def hold(event):
                if event.data == 1:
                    time.sleep(1.6)

            bus.subscribe("risk_alert", hold, inline=True)
            await opened(bus)
            await bus.publish("risk_alert", 1)
            await until(lambda: bus.get_metrics()["loop_holds"] == 1)
            assert "hold" in caplog.text

    run(act())


def test_a_cycle_through_a_callback_and_its_events_is_collected(tmp_path):
    class Desk:
        def __init__(self, bus):
            self.bus, self.events = bus, []

        def __call__(self, event):
            self.events.append(event)

    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        desk = Desk(bus)
        desk.me = desk
        bus.subscribe("risk_alert", desk, inline=True)
        running = asyncio.create_task(bus.run())
        await turning(bus)
        for _ in range(3):
            await bus.publish("risk_alert", 1)
        assert len(desk.events) == 3
        await bus.stop()
        await running
        return weakref.ref(desk), weakref.ref(bus)

    desk, bus = run(act())
    gc.collect()
    assert desk() is None
    assert bus() is None


def test_no_event_overtakes_one_that_waits_for_a_turn(tmp_path):
    async def act():
        async with make_bus(tmp_path, schema_validation=False) as bus:
            await turning(bus)
            with_a_step(bus)
            seqs, parked = [], []

            def callback(event):
                seqs.append(event.seq)
                if event.seq == 2:
                    mine.nack(event, "park")

            mine = bus.subscribe("*", callback, inline=True)
            await opened(bus, "trade_executed")
            bus.publish("trade_executed", 1)
            bus.publish("risk_alert", {"n": 2}, schema_version="1.0.0")
            bus.publish("trade_executed", 3)
            await settled(bus)
            bus.publish("trade_executed", 4)
            parked.extend(one.event.seq for one in mine.parked())
            assert seqs == [0, 1, 2, 3, 4]
            assert parked == [2], "what was said of one event is said of no other"

    run(act())


def test_who_subscribes_in_another_thread_while_the_way_opens_misses_nothing(tmp_path, monkeypatch):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)
            seen, late = Seen(), Seen()
            bus.subscribe("risk_alert", seen, inline=True)
            roster, threads = bus._delivery.roster, []
            matching = type(roster).matching

            def interrupted(self, event_type):
                found = matching(self, event_type)
                if not threads and sys._getframe(1).f_code.co_name == "_note_ready":
                    threads.append(threading.Thread(target=bus.subscribe, args=("risk_alert", late)))
                    threads[0].start()
                    threads[0].join()
                return found

            monkeypatch.setattr(type(roster), "matching", interrupted)
            for n in range(3):
                await bus.publish("risk_alert", n)
            await settled(bus)
            assert (seen, late) == ([0, 1, 2], [1, 2])

    run(act())


def test_snapshots_that_are_due_are_made_without_waiting_for_the_next_pass(tmp_path):
    async def act():
        async with make_bus(tmp_path, snapshot_frequency=100, processing_interval=1000) as bus:
            await turning(bus)
            bus.register_reducer("risk_alert", lambda state, event: {"n": event.data})
            bus.subscribe("risk_alert", Seen(), inline=True)
            for n in range(300):
                await bus.publish("risk_alert", n, aggregate_id="a")
            await until(lambda: bus.get_metrics()["snapshots_created"] > 0)

    run(act())


def test_what_a_report_publishes_while_the_loop_hands_out_comes_once_and_in_order(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await turning(bus)

            class Publishing(logging.Handler):
                def emit(self, record):
                    if "disconnected" in record.getMessage():
                        bus.publish("performance_update", {})

            logger, handler = logging.getLogger("aresbus"), Publishing()
            logger.addHandler(handler)
            try:
                seqs, reports = [], []
                bus.subscribe("performance_update", lambda event: reports.append(event.seq), inline=True)
                bus.subscribe("*", lambda event: seqs.append(event.seq))
                bus.subscribe("risk_alert", print, back_pressure="disconnect", max_lag=1)
                feed = threading.Thread(target=lambda: [bus.publish("risk_alert", n) for n in range(5)])
                feed.start()
                feed.join()
                await settled(bus)
            finally:
                logger.removeHandler(handler)
            assert seqs == list(range(len(seqs)))
            assert len(reports) == 1
            assert len(seqs) == 6

    run(act())


class Story:
    """One random life of a bus with inline subscriptions, the same for the same seed; what everybody saw of it."""

    def __init__(self, bus, seed: int) -> None:
        self.bus, self.rng = bus, random.Random(seed)
        self.number, self.names = 0, 0
        self.told: dict[str, list] = {}
        """What each saw: among subscriptions the order is their own affair once one of them has to try again."""
        self.subscriptions = []

    async def tell(self, steps: int) -> list:
        for _ in range(steps):
            step = self.rng.choices(
                [self.publish, self.publish_in_thread, self.subscribe, self.unsubscribe],
                [30, 3, 6, 3],
            )[0]
            result = step()
            if result is not None:
                await result
        await self.settle()
        counts = [
            (one.name, one.delivered_count, one.parked_count, one.retried_count) for one in self.subscriptions
        ]
        statuses = [(event.seq, str(event.metadata.status)) for event in self.bus.get_event_history()]
        metrics = self.bus.get_metrics()
        wanted = ("events_published", "events_delivered", "deliveries_failed", "deliveries_parked")
        return [self.told, counts, statuses, {name: metrics[name] for name in wanted}]

    async def settle(self):
        await settled(self.bus)

    def data(self) -> dict:
        self.number += 1
        return {"n": self.number, "depth": 0}

    async def publish(self):
        """Some events in a row, with no turn of the loop between them: what comes in one comes in the same order each time."""
        publications = []
        for _ in range(self.rng.randint(1, 4)):
            kind, data = self.rng.choice(TYPES), self.data()
            made = self.bus.publish(kind, data, aggregate_id=self.rng.choice([None, "a", "b"]))
            publications.append((data["n"], made))
        for n, made in publications:
            self.told.setdefault("published", []).append((n, bool(await made)))
        await self.settle()

    async def publish_in_thread(self):
        thread = threading.Thread(target=lambda: self.bus.publish("risk_alert", self.data()))
        thread.start()
        thread.join()
        await self.settle()

    async def subscribe(self):
        self.names += 1
        name, manner = (
            f"s{self.names}",
            self.rng.choice(["takes", "takes", "fails", "answers", "ends", "refuses"]),
        )

        def callback(event):
            n, depth = event.data["n"], event.data["depth"]
            self.told.setdefault(name, []).append((n, depth, mine.attempt))
            if manner == "fails" and n % 5 == 0:
                raise ValueError(str(n))
            if manner == "answers" and depth < 2:
                self.bus.publish(TYPES[n % 3], {"n": n, "depth": depth + 1})
            if manner == "ends" and n % 7 == 0:
                mine.unsubscribe()
            if manner == "refuses" and n % 6 == 0:
                mine.nack(event, "skip")

        callback.__qualname__ = name
        is_inline = self.rng.random() < 0.85
        keywords = {"aggregate_id": "a"} if self.rng.random() < 0.15 else {}
        kind = self.rng.choice([*TYPES, "*"])
        mine = self.bus.subscribe(kind, callback, inline=is_inline, max_retries=1, **QUICK, **keywords)
        self.subscriptions.append(mine)
        await self.settle()

    def unsubscribe(self):
        if self.subscriptions:
            self.rng.choice(self.subscriptions).unsubscribe()


def told(folder, seed: int) -> list:
    async def act():
        async with make_bus(folder, schema_validation=False, batch_size=20) as bus:
            await turning(bus)
            return await Story(bus, seed).tell(80)

    return run(act())


def told_on_the_long_way(folder, seed: int, monkeypatch) -> list:
    with monkeypatch.context() as patch:
        patch.setattr(Inline, "_note_ready", lambda *_: None)
        return told(folder, seed)


@pytest.mark.parametrize("seed", range(30))
def test_random_lives_are_the_same_on_both_ways(tmp_path, monkeypatch, seed):
    by_long_way = told_on_the_long_way(tmp_path / "long", seed, monkeypatch)
    for short, long in zip(told(tmp_path / "short", seed), by_long_way, strict=True):
        assert short == long


@pytest.mark.parametrize("seed", range(3))
def test_a_short_way_that_stays_open_would_be_noticed(tmp_path, monkeypatch, seed):
    by_long_way = told_on_the_long_way(tmp_path / "long", seed, monkeypatch)
    monkeypatch.setattr(Inline, "forget_ready", lambda *_: None)
    assert told(tmp_path / "short", seed) != by_long_way
