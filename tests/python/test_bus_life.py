"""The life of a bus: opening, running once and on one loop, stopping, cancelling, dropping, reopening, following."""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref

import aresbus
import pytest
from aresbus import BusStateError, EnhancedEventBus
from aresbus.testing import InMemoryBus, settled
from bus_support import Seen, make_bus, run, until


def lenient(folder, **keywords):
    return EnhancedEventBus({"event_bus": {"storage_path": str(folder)}}, **keywords)


# Opening


def test_making_a_bus_touches_nothing(tmp_path):
    bus = make_bus(tmp_path / "not yet")
    assert not (tmp_path / "not yet").exists()
    assert bus.get_status()["log"] is None
    assert bus.event_queue.empty()
    assert bus.get_event_history(5) == []


def test_the_first_publish_opens_the_log(tmp_path):
    async def act():
        bus = make_bus(tmp_path / "log")
        await bus.publish("risk_alert", 1)
        assert (tmp_path / "log" / "META").exists()
        await bus.stop()

    run(act())


def test_initialize_says_false_and_why_or_raises_if_strict(tmp_path, caplog):
    async def act():
        with aresbus.open(tmp_path):
            bus = lenient(tmp_path)
            assert await bus.initialize() is False
            assert isinstance(bus.last_error, aresbus.LogLockedError)
            assert bus.last_error.pid == os.getpid()
            with pytest.raises(aresbus.LogLockedError):
                await lenient(tmp_path, strict=True).initialize()
            with pytest.raises(aresbus.LogLockedError):
                async with lenient(tmp_path):
                    pass
        assert await bus.initialize() is True
        await bus.stop()

    run(act())
    assert "AB0003" in caplog.text


def test_initialize_after_stop_reopens(tmp_path):
    async def act():
        bus, seen = make_bus(tmp_path), Seen()
        bus.subscribe("risk_alert", seen)
        for n in range(3):
            assert await bus.initialize()
            await bus.publish("risk_alert", n)
            await settled(bus)
            await bus.stop()
            with pytest.raises(aresbus.LogClosedError):
                await bus.publish("risk_alert", "closed")
            with pytest.raises(aresbus.LogClosedError):
                _ = bus.log
        assert seen == [0, 1, 2]
        assert bus.metrics["events_processed"] == 3
        await bus.initialize()
        assert [event.data for event in await bus.replay_events()] == [0, 1, 2]
        await bus.stop()

    run(act())


def test_a_failed_opening_leaves_the_lock_free(tmp_path):
    (tmp_path / "META").write_bytes(b"nothing of ours")
    with pytest.raises(aresbus.StorageError):
        run(make_bus(tmp_path).initialize())
    with pytest.raises(aresbus.StorageError) as caught:
        aresbus.open(tmp_path)
    assert not isinstance(caught.value, aresbus.LogLockedError)


def test_an_opening_that_cannot_be_recorded_leaves_the_lock_free(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise aresbus.DiskFullError("no room")

    bus = lenient(tmp_path)
    aresbus.open(tmp_path).close()
    monkeypatch.setattr("aresbus.audit.AuditTrail._begin", refuse)
    assert run(bus.initialize()) is False
    assert isinstance(bus.last_error, aresbus.DiskFullError)
    monkeypatch.undo()
    aresbus.open(tmp_path).close()


# Running


def test_a_second_run_is_refused(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            assert bus.is_running
            with pytest.raises(BusStateError):
                await bus.run()
            with pytest.raises(BusStateError):
                async with bus:
                    pass
            assert bus.is_running

    run(act())


def test_two_runs_at_once_are_one_run(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        tasks = [asyncio.create_task(bus.run()) for _ in range(2)]
        await until(lambda: bus.is_running)
        await bus.stop()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in outcomes if one] == [BusStateError]

    run(act())


def test_another_loop_is_refused(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            for call in (bus.run, bus.stop, bus.process_pending):
                with pytest.raises(BusStateError):
                    await asyncio.to_thread(lambda call=call: asyncio.run(call()))
            assert bus.is_running

    run(act())


def test_run_returns_after_stop_and_can_begin_again(tmp_path):
    async def act():
        bus, seen = make_bus(tmp_path), Seen()
        bus.subscribe("risk_alert", seen)
        for n in range(2):
            await bus.initialize()
            task = asyncio.create_task(bus.run())
            await until(lambda: bus.is_running)
            await bus.publish("risk_alert", n)
            await bus.stop()
            await task
            assert not bus.is_running
        assert seen == [0, 1]

    run(act())


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("steps", range(4))
def test_run_returns_where_stop_came_before_its_first_steps(tmp_path, is_open, steps):
    async def act():
        bus = make_bus(tmp_path)
        if is_open:
            await bus.initialize()
        task = asyncio.create_task(bus.run())
        for _ in range(steps):
            await asyncio.sleep(0)
        await bus.stop()
        with aresbus.open(tmp_path):  # the lock is free, also of an opening that was under way
            await task
        with pytest.raises(aresbus.LogClosedError):  # a run that is asked for after stop is another matter
            await bus.run()
        assert not bus.is_running

    run(act())


def test_stop_waits_for_an_opening_that_is_under_way_and_undoes_it(tmp_path, monkeypatch):
    is_opening, may_open = threading.Event(), threading.Event()
    opened = EnhancedEventBus._open_on_record

    def slowly(bus):
        is_opening.set()
        assert may_open.wait(20)
        return opened(bus)

    monkeypatch.setattr(EnhancedEventBus, "_open_on_record", slowly)

    async def act():
        bus = make_bus(tmp_path)
        running = asyncio.create_task(bus.run())
        await asyncio.to_thread(is_opening.wait)
        stopping = asyncio.create_task(bus.stop())
        await asyncio.sleep(0)
        may_open.set()
        await stopping
        with aresbus.open(tmp_path):
            await running

    run(act())


def test_the_same_bus_may_run_on_one_loop_after_another(tmp_path):
    bus, seen = make_bus(tmp_path), Seen()
    bus.subscribe("risk_alert", seen)

    async def act(n):
        async with bus:
            await bus.publish("risk_alert", n)

    for n in range(3):
        run(act(n))
    assert seen == [0, 1, 2]


def test_run_wakes_on_commit_and_not_on_a_timer(tmp_path):
    async def act():
        async with make_bus(tmp_path, processing_interval=1_000) as bus:
            seen = Seen()
            bus.subscribe("risk_alert", seen)
            for n in range(100):
                await bus.publish("risk_alert", n)
                await until(lambda n=n: len(seen) == n + 1)

    run(act())


def test_cancelling_run_cancels_the_handler_whose_delivery_was_not_made(tmp_path):
    async def act():
        bus, begun, taken = make_bus(tmp_path), asyncio.Event(), Seen()
        hangs = True

        async def on_event(event):
            begun.set()
            if hangs:
                await asyncio.Event().wait()
            taken(event)

        bus.subscribe("risk_alert", on_event)
        task = asyncio.create_task(bus.run())
        await bus.publish("risk_alert", 1)
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not bus.is_running
        assert bus.event_queue.qsize() == 1
        hangs = False
        await bus.process_pending()
        assert taken == [1]
        await bus.stop()

    run(act())


def test_a_broken_log_ends_run_with_its_error(tmp_path, caplog):
    async def act():
        bus = make_bus(tmp_path)
        task = asyncio.create_task(bus.run())
        await until(lambda: bus.is_running)
        bus.log.close()
        bus._runner.wake()
        with pytest.raises(aresbus.LogClosedError):
            await task
        assert not bus.is_running
        await bus.stop()

    run(act())
    assert "AB0005" in caplog.text


# Stopping


def test_stop_delivers_what_is_appended_and_makes_it_durable(tmp_path):
    async def act():
        bus, seen = make_bus(tmp_path), Seen()
        async with bus:
            bus.subscribe("risk_alert", seen)
            for n in range(5_000):
                bus.publish("risk_alert", n).close()
            log = bus.log
        assert seen == list(range(5_000))
        assert log.is_closed

    run(act())


@pytest.mark.parametrize("times", [1, 2])
def test_stop_is_idempotent_and_needs_no_start(tmp_path, times):
    async def act():
        bus = make_bus(tmp_path)
        for _ in range(times):
            await bus.stop()
        await bus.initialize()
        await asyncio.gather(*(bus.stop() for _ in range(times)))
        aresbus.open(tmp_path).close()

    run(act())


def test_a_handler_may_stop_the_bus(tmp_path):
    async def act():
        bus, stopped = make_bus(tmp_path), asyncio.Event()

        async def on_event(event):
            await bus.stop()
            stopped.set()

        bus.subscribe("risk_alert", on_event)
        task = asyncio.create_task(bus.run())
        await bus.publish("risk_alert", 1)
        await stopped.wait()
        await task
        aresbus.open(tmp_path).close()

    run(act())


def test_an_error_in_the_body_comes_out_and_the_bus_is_stopped(tmp_path):
    async def body():
        async with make_bus(tmp_path) as bus:
            await bus.publish("risk_alert", 1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(body())
    aresbus.open(tmp_path).close()


def test_a_body_that_is_timed_out_ends_also_with_a_handler_that_hangs(tmp_path):
    async def act():
        async def hang(event):
            await asyncio.Event().wait()

        async def body():
            async with make_bus(tmp_path) as bus:
                bus.subscribe("risk_alert", hang)
                await bus.publish("risk_alert", 1)
                await asyncio.Event().wait()

        task = asyncio.create_task(body())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(act())


# Dropping


@pytest.mark.parametrize("was_running", [False, True])
def test_a_dropped_bus_releases_lock_and_threads_at_once(tmp_path, was_running):
    async def act():
        before = set(threading.enumerate())
        bus = make_bus(tmp_path)
        bus.subscribe("risk_alert", Seen())
        if was_running:
            task = asyncio.create_task(bus.run())
            await bus.publish("risk_alert", 1)
            await settled(bus)
            task.cancel()
            await asyncio.wait([task])
            del task
        else:
            await bus.publish("risk_alert", 1)
            await bus.process_pending()
        assert await bus.publish("risk_alert", 2)
        gone = weakref.ref(bus)
        gc.disable()
        try:
            del bus
            assert gone() is None
            aresbus.open(tmp_path).close()
        finally:
            gc.enable()
        assert {
            thread.name for thread in set(threading.enumerate()) - before if "aresbus" in thread.name
        } <= {"aresbus-watcher"}

    run(act())


def test_a_dropped_bus_whose_publish_failed_releases_its_lock(tmp_path):
    bus = lenient(tmp_path)
    run(bus.publish("risk_alert", object()))
    gc.disable()
    try:
        del bus
        aresbus.open(tmp_path).close()
    finally:
        gc.enable()


def program(text, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_at_exit_an_open_bus_is_synced_and_closed(tmp_path):
    done = program(
        """
        import sys, asyncio, aresbus
        bus = aresbus.EnhancedEventBus({"event_bus": {"storage_path": sys.argv[1]}})
        asyncio.run(bus.publish("risk_alert", 1))
        sys.keep = bus
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    with aresbus.open(tmp_path) as log:
        assert log.recovery["clean"]
        assert log.last_seq == 0


def test_a_forked_child_touches_nothing_of_its_parents_log(tmp_path):
    done = program(
        """
        import os, sys, asyncio, aresbus
        log = aresbus.open(sys.argv[1])
        log.append("risk_alert", 1)
        child = os.fork()
        if child == 0:
            try:
                log.append("risk_alert", 2)
            except aresbus.LogClosedError:
                log.close()
                sys.exit(7)
            sys.exit(1)
        _, status = os.waitpid(child, 0)
        log.append("risk_alert", 3)
        assert log.last_seq == 1
        log.close()
        sys.exit(os.waitstatus_to_exitcode(status))
        """,
        tmp_path,
    )
    assert done.returncode == 7, done.stderr
    with aresbus.open(tmp_path) as log:
        assert log.recovery["clean"]


# Reading along


def test_a_reader_follows_another_process_and_its_successor(tmp_path):
    async def act():
        with aresbus.open(tmp_path, segment_bytes=1 << 16) as log:
            log.append("risk_alert", -1)
            reader, seen = lenient(tmp_path, mode="r"), Seen()
            async with reader:
                reader.subscribe("risk_alert", seen)
                await asyncio.to_thread(lambda: [log.append("risk_alert", n) for n in range(2_000)])
                await until(lambda: len(seen) == 2_000)
                log.close()
                with aresbus.open(tmp_path) as successor:
                    successor.append("risk_alert", 2_000)
                    await until(lambda: len(seen) == 2_001)
                    assert reader.metrics["events_processed"] == 2_001
                    assert reader.mode == "r"
        assert seen == list(range(2_001))

    run(act())


def test_a_reader_writes_nothing(tmp_path):
    aresbus.open(tmp_path, audit=False).close()

    def files():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    async def act():
        async with lenient(tmp_path, mode="r") as bus:
            bus.subscribe("risk_alert", Seen())
            await bus.replay_events()

    before = files()
    run(act())
    assert files() == before


def test_a_reader_of_nothing_says_so(tmp_path):
    async def act():
        bus = lenient(tmp_path / "none", mode="r")
        assert await bus.initialize() is False
        assert isinstance(bus.last_error, FileNotFoundError)

    run(act())
    assert not (tmp_path / "none").exists()


def test_an_empty_log_is_no_special_case(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            bus.subscribe("risk_alert", Seen())
            assert await bus.replay_events() == []
            assert await bus.rebuild_from_events("a") == {}
            assert bus.get_history(5) == []
            assert (bus.event_queue.qsize(), await bus.process_pending()) == (0, 0)
            await settled(bus)
            bus.get_status()
        assert bus.snapshots == {}

    run(act())


def test_the_clock_is_the_one_given():
    bus = InMemoryBus()
    first = bus.clock.now()
    bus.manual_clock.advance_ns(1_500_000)
    assert (bus.clock.now() - first).total_seconds() == 0.0015
    run(bus.publish("risk_alert", 1))
    assert bus.event_history[0].metadata.timestamp == bus.clock.now()
