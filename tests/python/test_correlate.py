"""``correlate``: what is published inside a block shares its conversation, in whatever task or thread it is published."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import aresbus
import pytest
from aresbus import correlate
from aresbus.testing import InMemoryBus
from bus_support import run


def ids(event):
    return event.correlation_id, event.causation_id


def test_everything_inside_the_block_shares_one_conversation_and_nothing_after_it():
    async def act():
        bus = InMemoryBus()
        with correlate("talk") as correlation_id:
            assert correlation_id == "talk"
            await bus.publish("risk_alert", 1)
            await bus.publish("system_error", 2)
        await bus.publish("risk_alert", 3)
        assert [ids(event) for event in bus.event_history] == [("talk", None), ("talk", None), (None, None)]

    run(act())


def test_without_an_id_each_block_begins_a_new_conversation():
    async def act():
        bus = InMemoryBus()
        for _ in range(2):
            with correlate() as correlation_id:
                await bus.publish("risk_alert", 1)
                assert bus.event_history[-1].correlation_id == correlation_id
        first, second = (event.correlation_id for event in bus.event_history)
        assert first != second

    run(act())


def test_a_cause_that_is_given_holds_for_the_block():
    async def act():
        bus = InMemoryBus()
        with correlate("talk", causation_id="order-7"):
            await bus.publish("risk_alert", 1)
        assert ids(bus.event_history[0]) == ("talk", "order-7")

    run(act())


def test_ids_given_to_publish_win():
    async def act():
        bus = InMemoryBus()
        with correlate("talk", causation_id="why"):
            await bus.publish("risk_alert", 1, correlation_id="mine")
            await bus.publish("risk_alert", 2, causation_id="because")
        assert [ids(event) for event in bus.event_history] == [("mine", "why"), ("talk", "because")]

    run(act())


def test_blocks_nest_and_the_innermost_holds():
    async def act():
        bus = InMemoryBus()
        with correlate("outer", "cause"):
            with correlate("inner"):
                await bus.publish("risk_alert", 1)
            with pytest.raises(KeyError), correlate("broken", "other"):
                raise KeyError
            await bus.publish("risk_alert", 2)
        assert [ids(event) for event in bus.event_history] == [("inner", "cause"), ("outer", "cause")]

    run(act())


def test_a_block_in_a_handler_renames_the_conversation_and_keeps_the_cause():
    async def act():
        bus = InMemoryBus()

        def sync(event):
            with correlate("aside"):
                bus.publish("system_error", {}).close()
            bus.publish("component_stopped", {}).close()

        bus.subscribe("risk_alert", sync)
        first = await bus.publish("risk_alert", {})
        await bus.settled()
        _, aside, after = bus.event_history
        assert ids(aside) == ("aside", first)
        assert ids(after) == (first, first)

    run(act())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_handler_speaks_for_its_event_whatever_surrounds_the_bus(kind):
    async def act():
        bus = InMemoryBus()

        async def answer(event):
            await bus.publish("system_error", {})

        def answer_now(event):
            bus.publish("system_error", {}).close()

        bus.subscribe("risk_alert", answer if kind == "async" else answer_now)
        with correlate("surrounding"):
            first = await bus.publish("risk_alert", {}, correlation_id="its own")
            await bus.settled()
        assert ids(bus.event_history[1]) == ("its own", first)

    run(act())


async def in_a_task(publish):
    await asyncio.create_task(publish_async(publish))


async def publish_async(publish):
    await asyncio.sleep(0)
    publish()


async def in_a_group_of_tasks(publish):
    async with asyncio.TaskGroup() as group:
        group.create_task(publish_async(publish))


async def in_to_thread(publish):
    await asyncio.to_thread(publish)


async def in_a_thread_with_the_context(publish):
    thread = threading.Thread(target=contextvars.copy_context().run, args=(publish,))
    thread.start()
    thread.join()


async def in_an_executor_with_the_context(publish):
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as executor:
        await asyncio.get_running_loop().run_in_executor(executor, context.run, publish)


async def in_a_callback_of_the_loop(publish):
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(lambda: (publish(), done.set()))
    await done.wait()


CARRIERS = [
    in_a_task,
    in_a_group_of_tasks,
    in_to_thread,
    in_a_thread_with_the_context,
    in_an_executor_with_the_context,
    in_a_callback_of_the_loop,
]


@pytest.mark.parametrize("carry", CARRIERS, ids=lambda carry: carry.__name__)
def test_the_block_reaches(carry):
    async def act():
        bus = InMemoryBus()
        with correlate("talk", "cause"):
            await carry(lambda: bus.publish("risk_alert", {}).close())
        assert ids(bus.event_history[0]) == ("talk", "cause")

    run(act())


@pytest.mark.parametrize("carry", CARRIERS, ids=lambda carry: carry.__name__)
def test_what_a_handler_starts_speaks_for_its_event(carry):
    async def act():
        bus = InMemoryBus()

        async def on_event(event):
            await carry(lambda: bus.publish("system_error", {}).close())

        bus.subscribe("risk_alert", on_event)
        first = await bus.publish("risk_alert", {}, correlation_id="talk")
        await bus.settled()
        assert ids(bus.event_history[1]) == ("talk", first)

    run(act())


def test_a_task_started_inside_speaks_for_the_block_after_its_end():
    async def act():
        bus = InMemoryBus()
        is_over = asyncio.Event()

        async def late():
            await is_over.wait()
            await bus.publish("risk_alert", {})

        with correlate("talk"):
            task = asyncio.create_task(late())
            await asyncio.sleep(0)
        is_over.set()
        await task
        assert ids(bus.event_history[0]) == ("talk", None)

    run(act())


def test_a_context_of_its_own_speaks_for_nobody():
    async def act():
        bus = InMemoryBus()
        with correlate("talk"), ThreadPoolExecutor(1) as executor:
            alone = contextvars.Context().run
            await asyncio.get_running_loop().run_in_executor(
                executor, alone, lambda: bus.publish("risk_alert", {}).close()
            )
        assert ids(bus.event_history[0]) == (None, None)

    run(act())


def test_tasks_keep_their_conversations_apart():
    async def act():
        bus = InMemoryBus()

        async def talk(name):
            with correlate(name):
                for _ in range(5):
                    await asyncio.sleep(0)
                    await bus.publish("risk_alert", name)

        await asyncio.gather(*(talk(f"talk {n}") for n in range(20)))
        assert len(bus.event_history) == 100
        assert all(event.correlation_id == event.data for event in bus.event_history)

    run(act())


def test_without_tracking_a_block_gives_nothing():
    async def act():
        bus = InMemoryBus(correlation_tracking=False)
        with correlate("talk", "cause"):
            await bus.publish("risk_alert", 1)
            await bus.publish("risk_alert", 2, correlation_id="given")
        assert [ids(event) for event in bus.event_history] == [(None, None), ("given", None)]

    run(act())


def test_the_native_door_inherits_nothing():
    with aresbus.Log(None) as log, correlate("talk"):
        log.append("a", 1)
        (event,) = log.read()
        assert ids(event) == (None, None)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"correlation_id": 7}, TypeError),
        ({"causation_id": b"x"}, TypeError),
        ({"correlation_id": ""}, aresbus.LimitError),
        ({"correlation_id": "x" * 1025}, aresbus.LimitError),
        ({"causation_id": "ä" * 513}, aresbus.LimitError),
    ],
)
def test_an_id_that_no_event_can_carry_is_refused_at_once(given, error):
    with pytest.raises(error, match=next(iter(given))), correlate(**given):
        pytest.fail("the block ran")


def test_the_longest_id_is_taken():
    async def act():
        bus = InMemoryBus()
        with correlate("ä" * 512, "x" * 1024):
            assert await bus.publish("risk_alert", 1)
        assert ids(bus.event_history[0]) == ("ä" * 512, "x" * 1024)

    run(act())
