"""Event loops and threads: a bus runs on one loop, and anybody may publish to it, also from another loop while it runs."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import aresbus
import pytest
from aresbus import BusStateError
from bus_support import PATIENCE_SECONDS, make_bus, run, until

THREADS, EACH = 4, 300


class Elsewhere:
    """A bus that runs on a loop of its own, in a thread of its own."""

    def __init__(self, bus) -> None:
        self.bus = bus
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._run())

    async def _run(self) -> None:
        self._leaving = asyncio.Event()
        async with self.bus:
            self._ready.set()
            await self._leaving.wait()

    def __enter__(self):
        self._ready = threading.Event()
        self._thread.start()
        assert self._ready.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._leaving.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        self.loop.close()


@pytest.mark.parametrize("durability", ["interval", "group"])
def test_published_on_one_loop_and_handled_on_the_other(tmp_path, durability):
    bus, seen, where = make_bus(tmp_path), [], set()

    async def on_event(event):
        where.add(asyncio.get_running_loop())
        seen.append(event.data)

    async def publish():
        for n in range(100):
            assert await bus.publish("risk_alert", n, durability=durability)
        await until(lambda: len(seen) == 100)

    bus.subscribe("risk_alert", on_event)
    with Elsewhere(bus) as elsewhere:
        run(publish())
        assert where == {elsewhere.loop}
    assert seen == list(range(100))


def test_threads_and_two_loops_publish_at_once_and_each_order_is_kept(tmp_path):
    """Handlers publish too: their answers are delivered as well."""
    bus, seen, answers = make_bus(tmp_path, max_history=50), [], []

    async def on_event(event):
        seen.append(event)
        await bus.publish("system_error", event.data)

    def publish(thread: int, how: str) -> None:
        if how == "loop":
            asyncio.run(publish_all(thread))
        else:
            for n in range(EACH):
                # The append happens at the call; whoever has no loop need not await.
                bus.publish("risk_alert", [thread, n]).close()

    async def publish_all(thread: int) -> None:
        for n in range(EACH):
            await bus.publish("risk_alert", [thread, n])

    bus.subscribe("risk_alert", on_event)
    bus.subscribe("system_error", lambda event: answers.append(event.data))
    with Elsewhere(bus), ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(publish, n, "loop" if n % 2 else "thread") for n in range(THREADS)]:
            done.result(PATIENCE_SECONDS)
        run(until(lambda: len(answers) == THREADS * EACH))
    assert [event.seq for event in seen] == sorted(event.seq for event in seen)
    for thread in range(THREADS):
        assert [event.data[1] for event in seen if event.data[0] == thread] == list(range(EACH))
    assert answers == [event.data for event in seen]
    with aresbus.open(tmp_path, mode="r") as log:
        assert sum(event.event_type == "risk_alert" for event in log.read()) == THREADS * EACH


def test_while_it_runs_there_no_other_loop_may_run_or_stop_it(tmp_path):
    bus, seen = make_bus(tmp_path), []
    bus.subscribe("risk_alert", seen.append)
    with Elsewhere(bus) as elsewhere:
        for _ in range(2):
            with pytest.raises(BusStateError):
                run(bus.run())
            with pytest.raises(BusStateError):
                run(bus.process_pending())
        second = asyncio.run_coroutine_threadsafe(bus.run(), elsewhere.loop)
        with pytest.raises(BusStateError):
            second.result(PATIENCE_SECONDS)
        run(bus.publish("risk_alert", 1))
        run(until(lambda: seen))
        assert bus.is_running


def test_subscribed_and_unsubscribed_from_other_threads_while_it_runs(tmp_path):
    bus, kept = make_bus(tmp_path), []

    def come_and_go(thread: int) -> None:
        for n in range(100):
            name = f"{thread}-{n}" if n % 10 == 0 else None
            mine = bus.subscribe("risk_alert", lambda _: None, name=name)
            bus.publish("risk_alert", n).close()
            mine.unsubscribe()

    bus.subscribe("risk_alert", lambda event: kept.append(event.data))
    with Elsewhere(bus), ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(come_and_go, thread) for thread in range(3)]:
            done.result(PATIENCE_SECONDS)
        run(until(lambda: len(kept) == 300))
    assert sorted(kept) == sorted([*range(100)] * 3)
