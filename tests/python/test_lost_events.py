"""Events that were no longer kept when a subscription got to them: whoever may have wanted them is told, in its turn.

A log in memory drops its oldest events at its cap; that is how they are gone here.
"""

import asyncio

import aresbus
from aresbus.subscriptions import CaughtUp, FellBehind, Lost
from aresbus.testing import settled
from bus_support import run, until

LARGE = "x" * 10_000
MANY = 3_000
"""So many large events are several times what the log keeps."""


def small_bus() -> aresbus.EnhancedEventBus:
    return aresbus.EnhancedEventBus(
        {"event_bus": {"enable_persistence": False, "max_history": 10}},
        strict=True,
        log_options={"memory_bytes": 8 << 20},
    )


def flood(bus) -> None:
    """Past the bus, in one go: it gets no turn before most of them are gone."""
    for n in range(MANY):
        bus.log.append("system_error", [n, LARGE])


def test_a_bus_that_lagged_tells_every_live_subscription_behind_what_waited(caplog):
    async def act():
        gate, told, others = asyncio.Event(), [], []

        async def on_event(event):
            await gate.wait()
            told.append(event.seq)

        async with small_bus() as bus:
            bus.subscribe("risk_alert", on_event, on_message=told.append)
            bus.subscribe("system_error", lambda event: others.append(event.seq), on_message=others.append)
            ended = bus.subscribe("*", others.append, on_message=others.append)
            for n in range(3):
                await bus.publish("risk_alert", n)
            await until(lambda: bus.subscriptions[0].current is not None)
            await until(lambda: ended.delivered_count == 3)
            ended.unsubscribe()
            del others[:]
            flood(bus)
            gate.set()
            await settled(bus)
            first = bus.log.first_seq
            await bus.publish("risk_alert", 3)
            await settled(bus)
            assert first > 100
            assert told == [0, 1, 2, FellBehind(3), Lost(3, first), CaughtUp(MANY + 2), MANY + 3]
            assert others[:2] == [FellBehind(3), Lost(3, first)]
            assert others[2:-1] == list(range(first, MANY + 3))
            assert bus.metrics["events_lost"] == 2 * (first - 3)

    run(act())
    assert "the bus lagged until" in caplog.text


def test_whoever_stood_before_the_very_first_event_is_told_too():
    async def act():
        bus, live, historic = small_bus(), [], []
        await bus.initialize()
        bus.subscribe("*", lambda event: live.append(event.seq), on_message=live.append)
        bus.subscribe(
            "*", lambda event: historic.append(event.seq), after="start", on_message=historic.append
        )
        flood(bus)
        while await bus.process_pending():
            pass
        first = bus.log.first_seq
        assert live[:3] == [FellBehind(0), Lost(0, first), first]
        assert historic[:2] == [Lost(0, first), first]
        assert [one for one in live if isinstance(one, int)] == list(range(first, MANY))
        await bus.stop()

    run(act())


def test_threads_that_outrun_the_bus_do_not_end_it():
    async def act():
        seen, messages = [], []
        async with small_bus() as bus:
            bus.subscribe("*", lambda event: seen.append(event.seq), on_message=messages.append)
            await asyncio.gather(*(asyncio.to_thread(flood, bus) for _ in range(2)))
            await settled(bus)
            gone = {
                seq for one in messages if isinstance(one, Lost) for seq in range(one.from_seq, one.to_seq)
            }
            assert seen == sorted(seen)
            assert gone.isdisjoint(seen)
            assert gone | set(seen) == set(range(2 * MANY))
            assert bus.metrics["events_lost"] == len(gone)

    run(act())
