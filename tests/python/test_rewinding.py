"""A reader bus whose log is cut below what it has read: it is told, goes back, and goes on with what came instead."""

import asyncio
import shutil
from pathlib import Path

import aresbus
import pytest
from aresbus import CorruptionError
from aresbus.subscriptions import CaughtUp, Rewound
from bus_support import Seen, copy_beside_its_writer, make_bus, run, until


def put_back(folder: Path, older: Path) -> None:
    """Replace the log's files by those of an older state of it; lock, and what subscriptions know, stay."""
    for entry in folder.iterdir():
        if entry.name in ("subscriptions", "LOCK", "audit"):
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for entry in older.iterdir():
        if entry.name not in ("subscriptions", "LOCK", "audit"):
            target = folder / entry.name
            shutil.copytree(entry, target) if entry.is_dir() else shutil.copy(entry, target)


def write(folder: Path, older: Path | None, *numbers: int) -> None:
    """Be one writer's life: append, with a copy of the files before the last half of it."""
    with aresbus.open(folder) as log:
        for n in numbers:
            if older is not None and n == numbers[len(numbers) // 2]:
                log.sync()
                copy_beside_its_writer(folder, older)
            log.append("risk_alert", n)
        log.sync()


@pytest.mark.parametrize("drives", ["run", "process_pending"])
@pytest.mark.parametrize("is_durable", [False, True], ids=["live", "durable"])
def test_a_reader_goes_back_to_where_a_later_writer_went_on(tmp_path, is_durable, drives):
    folder, older = tmp_path / "log", tmp_path / "older"

    async def act():
        write(folder, older, *range(10))
        seen, messages = Seen(), []
        terms = {"name": "desk"} if is_durable else {}
        bus = make_bus(folder, mode="r", processing_interval=0.01)
        await bus.initialize()
        mine = bus.subscribe("risk_alert", seen, after="start", on_message=messages.append, **terms)
        running = asyncio.create_task(bus.run()) if drives == "run" else None

        async def reached(condition):
            while not condition():
                if running is None:
                    await bus.process_pending()
                await asyncio.sleep(0.001)

        await reached(lambda: messages == [CaughtUp(9)])
        put_back(folder, older)
        write(folder, None, 50, 60)
        await reached(lambda: 60 in seen)
        assert seen == [*range(10), 50, 60]
        assert messages[1] == Rewound(9, 5)
        write(folder, None, 70)
        await reached(lambda: 70 in seen)
        assert seen == [*range(10), 50, 60, 70]
        assert [one for one in messages if isinstance(one, Rewound)] == [Rewound(9, 5)]
        assert bus.event_history[-1].data == 70
        if is_durable:
            await reached(lambda: mine.memory.checkpoint is not None and mine.memory.checkpoint.seq == 7)
        await bus.stop()
        if running is not None:
            await running

    run(act())


def test_who_was_not_beyond_the_cut_is_told_nothing_and_gets_everything(tmp_path):
    folder, older = tmp_path / "log", tmp_path / "older"

    async def act():
        write(folder, older, *range(10))
        gate, slow, fast, messages = asyncio.Event(), [], Seen(), []

        async def on_event(event):
            slow.append(event.data)
            await gate.wait()

        async with make_bus(folder, mode="r") as bus:
            bus.subscribe("risk_alert", on_event, after="start", on_message=messages.append)
            bus.subscribe("risk_alert", fast, after="start")
            await until(lambda: slow == [0] and len(fast) == 10)
            put_back(folder, older)
            write(folder, None, 50, 60)
            await until(lambda: 60 in fast)
            gate.set()
            await until(lambda: 60 in slow)
            assert slow == [*range(5), 50, 60]
            assert not [one for one in messages if isinstance(one, Rewound)]

    run(act())


def test_a_lost_event_in_hand_is_handled_to_its_end_before_the_subscriber_is_told(tmp_path):
    folder, older = tmp_path / "log", tmp_path / "older"

    async def act():
        write(folder, older, *range(10))
        gate, said = asyncio.Event(), []

        async def on_event(event):
            if event.data == 7:
                await gate.wait()
            said.append(event.data)

        async with make_bus(folder, mode="r") as bus:
            bus.subscribe("risk_alert", on_event, after="start", on_message=said.append)
            await until(lambda: said == list(range(7)))
            put_back(folder, older)
            write(folder, None, 50, 60)
            await until(lambda: bus._delivery.frontier.dispatched == 7)
            gate.set()
            await until(lambda: 60 in said)
            assert said[:11] == [*range(8), Rewound(7, 5), 50, 60]

    run(act())


def test_who_was_to_begin_behind_the_cut_begins_where_the_log_goes_on(tmp_path):
    folder, older = tmp_path / "log", tmp_path / "older"

    async def act():
        write(folder, older, *range(10))
        seen, messages = Seen(), []
        bus = make_bus(folder, mode="r")
        await bus.initialize()
        bus.subscribe("risk_alert", seen, on_message=messages.append)
        put_back(folder, older)
        write(folder, None, 50, 60)
        while 60 not in seen:
            await bus.process_pending()
        assert seen == [50, 60]
        assert messages[0] == Rewound(9, 5), "it stood behind the event at 9"
        await bus.stop()

    run(act())


def test_damage_that_no_writer_recovered_still_ends_the_run(tmp_path):
    async def act():
        write(tmp_path, None, *range(10))
        bus = make_bus(tmp_path, mode="r")
        await bus.initialize()
        dispatch = bus._delivery.dispatch

        def damaged(limit):
            raise CorruptionError("damaged")

        bus._delivery.dispatch = damaged
        with pytest.raises(CorruptionError, match="damaged"):
            await bus.run()
        with pytest.raises(CorruptionError, match="damaged"):
            await bus.process_pending()
        bus._delivery.dispatch = dispatch
        await bus.stop()

    run(act())
