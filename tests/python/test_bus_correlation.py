"""Correlation: what is published while an event is handled knows its conversation and its cause."""

import asyncio

from aresbus.testing import InMemoryBus
from bus_support import run


def ids(event):
    return event.metadata.correlation_id, event.metadata.causation_id


def chain(**settings):
    """A bus on which risk_alert causes system_error, which causes component_stopped; the last by a task of its own."""
    bus = InMemoryBus(**settings)

    def sync(event):
        bus.publish("system_error", {}).close()

    async def later(event):
        await asyncio.sleep(0)
        await asyncio.create_task(aside())

    async def aside():
        await bus.publish("component_stopped", {})

    bus.subscribe("risk_alert", sync)
    bus.subscribe("system_error", later)
    return bus


def test_a_conversation_begins_with_the_event_that_has_none():
    async def act():
        bus = chain()
        first = await bus.publish("risk_alert", {})
        await bus.settled()
        root, second, third = bus.event_history
        assert ids(root) == (None, None)
        assert ids(second) == (first, first)
        assert ids(third) == (first, second.event_id)

    run(act())


def test_a_conversation_that_is_named_goes_on():
    async def act():
        bus = chain()
        first = await bus.publish("risk_alert", {}, correlation_id="talk")
        await bus.settled()
        _, second, third = bus.event_history
        assert ids(second) == ("talk", first)
        assert ids(third) == ("talk", second.event_id)

    run(act())


def test_given_ids_are_not_replaced():
    async def act():
        bus = InMemoryBus()
        bus.subscribe("risk_alert", lambda event: bus.publish("system_error", {}, correlation_id="mine"))
        bus.subscribe("system_error", lambda event: bus.publish("component_stopped", {}, causation_id="why"))
        first = await bus.publish("risk_alert", {})
        await bus.settled()
        _, second, third = bus.event_history
        assert ids(second) == ("mine", first)
        assert ids(third) == ("mine", "why")

    run(act())


def test_without_tracking_nothing_is_inherited():
    async def act():
        bus = chain(correlation_tracking=False)
        await bus.publish("risk_alert", {}, correlation_id="talk")
        await bus.settled()
        assert [ids(event) for event in bus.event_history] == [("talk", None), (None, None), (None, None)]

    run(act())


def test_handlers_that_interleave_keep_their_causes_apart():
    async def act():
        bus = InMemoryBus()

        def answering(kind):
            async def answer(event):
                await asyncio.sleep(0.001 if kind == "system_error" else 0)
                await bus.publish(kind, event.data)

            return answer

        bus.subscribe("risk_alert", answering("system_error"))
        bus.subscribe("risk_alert", answering("component_stopped"))
        sources = {n: await bus.publish("risk_alert", n) for n in range(20)}
        await bus.settled()
        answers = [event for event in bus.event_history if event.event_type != "risk_alert"]
        assert len(answers) == 40
        for event in answers:
            assert ids(event) == (sources[event.data], sources[event.data])

    run(act())


def test_beside_the_handlers_nothing_is_inherited():
    async def act():
        bus = chain()
        await bus.publish("risk_alert", {})
        await bus.settled()
        await bus.publish("risk_alert", {"second": True})
        assert ids(bus.event_history[-1]) == (None, None)

    run(act())


def test_a_thread_started_by_a_handler_with_its_context_inherits():
    async def act():
        bus = InMemoryBus()

        async def on_event(event):
            await asyncio.to_thread(lambda: bus.publish("system_error", {}).close())

        bus.subscribe("risk_alert", on_event)
        first = await bus.publish("risk_alert", {})
        await bus.settled()
        assert ids(bus.event_history[1]) == (first, first)

    run(act())
