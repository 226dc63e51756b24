"""Where subscriptions begin and what is remembered of them, under races, failing disks, and lost events."""

import threading

import pytest
from aresbus import LogLockedError
from aresbus.subscriptions import CaughtUp, Rewound
from aresbus.testing import settled
from bus_support import Seen, copy_beside_its_writer, keep_only_subscriptions, make_bus, publish, run, until


def test_what_was_subscribed_while_nothing_was_open_begins_where_it_said(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        await publish(bus, 0, 1)
        await bus.stop()
        seen = Seen()
        bus.subscribe("risk_alert", seen, after="start")
        async with bus:
            await settled(bus)
            await publish(bus, 2)
            await settled(bus)
        assert seen == [0, 1, 2]

    run(act())


def test_an_opening_that_failed_for_one_name_leaves_the_others_their_beginning(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await publish(bus, 0, 1)
        async with make_bus(tmp_path, mode="r") as reader:
            held = reader.subscribe("risk_alert", Seen(), name="desk")
            bus, seen = make_bus(tmp_path), Seen()
            bus.subscribe("risk_alert", seen, after="start")
            mine = bus.subscribe("risk_alert", Seen(), name="desk")
            with pytest.raises(LogLockedError):
                await bus.initialize()
            with pytest.raises(LogLockedError):
                await bus.initialize()
            held.unsubscribe()
        async with bus:
            await until(lambda: seen == [0, 1])
            assert mine.memory is not None

    run(act())


def test_a_name_is_given_once_also_before_anything_is_open(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        bus.subscribe("risk_alert", Seen(), name="desk")
        with pytest.raises(LogLockedError, match="'desk' is in use"):
            bus.subscribe("risk_alert", Seen(), name="desk")
        await bus.initialize()
        await bus.stop()

    run(act())


def test_the_position_seen_from_another_thread_is_never_ahead(tmp_path):
    """A checkpoint is taken in a thread while the loop refills: it must not pass what was only just read."""

    async def act():
        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", Seen(), after="start")
            await settled(bus)
            await publish(bus, *range(3))
            await settled(bus)
            mine.is_behind, mine.next_seq = True, 1

            class Racing:
                """The loop refills in the moment between two looks of the other thread."""

                def first(self):
                    mine.next_seq = 3

            mine.waiting, kept = Racing(), mine.waiting
            try:
                assert mine.position(3) == 1
            finally:
                mine.waiting, mine.is_behind = kept, False

    run(act())


def test_a_checkpoint_that_cannot_be_stored_is_reported_and_tried_again(tmp_path, caplog):
    async def act():
        async with make_bus(tmp_path, processing_interval=0.005) as bus:
            mine = bus.subscribe("risk_alert", Seen(), name="desk")
            fails, advance = True, mine.memory.advance

            def failing(anchor):
                if fails:
                    raise OSError(28, "no space left")
                advance(anchor)

            mine.memory.advance = failing
            await publish(bus, 1)
            await until(lambda: "no space left" in caplog.text)
            fails = False
            bus.log.sync()
            await until(lambda: mine.memory.checkpoint is not None and mine.memory.checkpoint.seq == 0)

    run(act())


def test_a_checkpoint_that_fails_at_stop_keeps_no_lock(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        for name in ("desk", "book"):
            mine = bus.subscribe("risk_alert", Seen(), name=name)

            def failing(anchor):
                raise OSError(28, "no space left")

            mine.memory.advance = failing
        await publish(bus, 1)
        await bus.process_pending()
        await bus.stop()
        async with make_bus(tmp_path) as again:
            for name in ("desk", "book"):
                again.subscribe("risk_alert", Seen(), name=name)

    run(act())


def test_subscribing_from_threads_while_the_bus_opens_loses_no_beginning(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            await publish(bus, *range(5))
        for turn in range(20):
            bus, handlers = make_bus(tmp_path), [Seen() for _ in range(4)]

            def subscribe(n, turn=turn, bus=bus, handlers=handlers):
                bus.subscribe("risk_alert", handlers[n], after="start", name=f"desk {turn} {n}")

            threads = [threading.Thread(target=subscribe, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            assert await bus.initialize()
            for thread in threads:
                thread.join()
            assert all(one.memory is not None for one in bus.subscriptions)
            while any(one.has_work for one in bus.subscriptions):
                await bus.process_pending()
            await bus.stop()
            assert handlers == [[0, 1, 2, 3, 4]] * 4

    run(act())


def test_rewound_to_the_very_first_place_is_told_once(tmp_path):
    async def act():
        folder, older = tmp_path / "log", tmp_path / "older"
        bus = make_bus(folder)
        await bus.initialize()
        copy_beside_its_writer(folder, older)
        bus.subscribe("risk_alert", Seen(), name="desk")
        await publish(bus, 0, 1)
        await bus.process_pending()
        await bus.stop()
        keep_only_subscriptions(folder, older)
        messages = []
        for _ in range(2):
            async with make_bus(folder) as bus:
                bus.subscribe("risk_alert", Seen(), name="desk", on_message=messages.append)
                await settled(bus)
                await until(lambda: any(isinstance(one, CaughtUp) for one in messages))
        assert [one for one in messages if isinstance(one, Rewound)] == [Rewound(1, 0)]

    run(act())
