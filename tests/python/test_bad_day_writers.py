"""A second writer, in this process and in another: refused by name, the first one undisturbed; a dead one leaves no lock."""

import asyncio
import fcntl
import gc
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import aresbus
import pytest
from aresbus import EnhancedEventBus, LogLockedError, setup_enhanced_event_bus
from bad_day_support import aresbus_process, check_error, child, heard, make_log, numbers, refused
from bus_support import make_bus, run, until


def lenient(folder, **keywords):
    return EnhancedEventBus({"event_bus": {"storage_path": str(folder)}}, **keywords)


@pytest.mark.parametrize("is_audited", [True, False], ids=["audited", "bare"])
def test_in_the_same_process(tmp_path, is_audited):
    with aresbus.open(tmp_path / "log") as first:
        first.append("note", 0)
        with refused(
            LogLockedError, tmp_path / "log", str(os.getpid()), path=str(tmp_path / "log"), pid=os.getpid()
        ) as caught:
            aresbus.open(tmp_path / "log", audit=is_audited)
        assert caught.value.host == os.uname().nodename
        assert "mode='r'" in str(caught.value)
        first.append("note", 1)
    assert numbers(tmp_path / "log") == [0, 1]


def test_in_another_process_and_readers_are_welcome(tmp_path):
    log = make_log(tmp_path / "log")
    with child("hold", log) as holder:
        assert heard(holder) == "held"
        with refused(LogLockedError, log, holder.pid, path=str(log), pid=holder.pid):
            aresbus.open(log)
        assert numbers(log) == [0, 1, 2, 3, 4, "held"]
        holder.communicate("\n")
        assert holder.returncode == 0
    with aresbus.open(log) as next_writer:
        assert next_writer.recovery["clean"]
        assert next_writer.append("note", 6).seq == 6


def test_a_killed_holder_leaves_no_lock(tmp_path):
    log = make_log(tmp_path / "log")
    with child("hold", log) as holder:
        assert heard(holder) == "held"
        holder.kill()
        holder.wait()
        with aresbus.open(log) as next_writer:
            assert [event.data for event in next_writer.read()] == [0, 1, 2, 3, 4, "held"]


@pytest.mark.parametrize("name", ["LOCK", "audit/LOCK"])
def test_a_holder_that_left_no_word_is_an_unknown_process(tmp_path, name):
    log = make_log(tmp_path / "log")
    with (log / name).open("r+") as lock:
        lock.truncate(0)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with refused(
            LogLockedError, log, "unknown process", path=str(log), pid=None, host=None, started=None
        ):
            aresbus.open(log)
    aresbus.open(log).close()


def test_many_at_once_one_wins(tmp_path):
    opened, errors = [], []
    line = threading.Barrier(8)

    def open_it():
        line.wait()
        try:
            opened.append(aresbus.open(tmp_path / "log"))
        except LogLockedError as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(opened), len(errors)) == (1, 7)
    for error in errors:
        check_error(error, LogLockedError, tmp_path / "log")
        # Between taking the lock and leaving word of itself the holder is unknown.
        assert error.pid in {os.getpid(), None}
    opened[0].append("note", 0)
    opened[0].close()
    assert numbers(tmp_path / "log") == [0]


def test_a_lenient_bus_says_false_and_raises_where_something_would_be_lost(tmp_path, caplog):
    async def act():
        bus = lenient(tmp_path)
        assert await bus.initialize() is False
        check_error(bus.last_error, LogLockedError, tmp_path, pid=os.getpid())
        assert "[AB0003]" in bus.get_status()["last_error"]
        assert "AB0003" in caplog.text
        with refused(LogLockedError, tmp_path, pid=os.getpid()):
            await bus.publish("risk_alert", 1)
        with refused(LogLockedError, tmp_path):
            await bus.run()
        with refused(LogLockedError, tmp_path):
            async with bus:
                pytest.fail("a bus without a log was entered")
        await bus.stop()
        assert await setup_enhanced_event_bus({"event_bus": {"storage_path": str(tmp_path)}}) is None

    with aresbus.open(tmp_path) as first:
        first.append("note", 0)
        run(act())
        first.append("note", 1)
    assert numbers(tmp_path) == [0, 1]


def test_a_strict_bus_raises(tmp_path):
    async def act():
        with refused(LogLockedError, tmp_path, pid=os.getpid()):
            await make_bus(tmp_path).initialize()

    with aresbus.open(tmp_path):
        run(act())


def test_a_bus_that_was_refused_starts_once_the_lock_is_free(tmp_path):
    async def act():
        bus = lenient(tmp_path)
        with aresbus.open(tmp_path):
            assert not await bus.initialize()
        assert await bus.initialize()
        await bus.publish("risk_alert", 1)
        await bus.stop()

    run(act())
    assert numbers(tmp_path) == [1]


def test_the_command_line_says_who_holds_it(tmp_path):
    log = make_log(tmp_path / "log")
    (tmp_path / "feed").write_text('1 {"a":1}\n')
    with aresbus.open(log):
        done = aresbus_process("record", tmp_path / "feed", "--log", log, "--source", "s")
    assert done.returncode == 2
    assert "[AB0003]" in done.stderr
    assert f"process {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr
    assert numbers(log) == [0, 1, 2, 3, 4]


# Dropped without stop: lock and threads go


def threads_of_ours() -> set[str]:
    """Names of this process' threads, the engine's too, as the kernel knows them."""
    names = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it ended meanwhile
            names.add((task / "comm").read_text().strip())
    return {name for name in names if "ares" in name}


def is_free(folder) -> bool:
    """Whether the log opens at once, and no thread of its last writer is left."""
    left = threads_of_ours()
    with aresbus.open(folder) as log:
        assert log.recovery["clean"], log.recovery
    return not left


def dropped_unused(folder):
    make_bus(folder)


def dropped_after_initialize(folder):
    asyncio.run(make_bus(folder).initialize())


def dropped_after_publish(folder):
    bus = make_bus(folder)
    bus.subscribe("risk_alert", print)
    bus.publish("risk_alert", 1).close()


def dropped_after_refusal(folder):
    bus = lenient(folder)
    bus.subscribe("risk_alert", print)
    assert asyncio.run(bus.publish("no_such_type", 1)) == ""
    assert asyncio.run(bus.publish("risk_alert", object())) == ""


async def run_a_while(bus, *, handler=None):
    seen = []
    bus.subscribe("risk_alert", handler or seen.append)
    task = asyncio.create_task(bus.run())
    await until(lambda: bus.is_running)
    await bus.publish("risk_alert", 1)
    await until(lambda: bus.metrics["deliveries_failed"] if handler else seen)
    return task


def dropped_with_a_cancelled_run(folder):
    async def act():
        task = await run_a_while(make_bus(folder))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(act())


def dropped_with_a_run_that_the_loop_cancelled(folder):
    async def act():
        await run_a_while(make_bus(folder))

    run(act())


def dropped_after_a_handler_failed(folder):
    async def act():
        def fails(_):
            raise ValueError(1)

        task = await run_a_while(make_bus(folder, max_retry_count=0), handler=fails)
        task.cancel()
        await asyncio.wait([task])

    run(act())


def dropped_in_the_middle_of_a_handler(folder):
    async def act():
        bus, entered = make_bus(folder), asyncio.Event()

        async def hangs(_):
            entered.set()
            await asyncio.Event().wait()

        bus.subscribe("risk_alert", hangs)
        task = asyncio.create_task(bus.run())
        await until(lambda: bus.is_running)
        await bus.publish("risk_alert", 1)
        await entered.wait()
        task.cancel()
        await asyncio.wait([task])

    run(act())


def dropped_without_leaving_its_with_block(folder):
    async def act():
        bus = make_bus(folder)
        await bus.__aenter__()
        await bus.publish("risk_alert", 1, durability="group")

    run(act())


def dropped_store(folder):
    store = aresbus.FileEventStore(folder)
    assert asyncio.run(store.save_event(aresbus.Event("risk_alert", 1)))


def dropped_log(folder):
    aresbus.open(folder).append("note", 1)


def dropped_iterator(folder):
    log = aresbus.open(folder)
    log.append("note", 1)
    assert next(log.follow()).data == 1


WAYS = [
    dropped_unused,
    dropped_after_initialize,
    dropped_after_publish,
    dropped_after_refusal,
    dropped_with_a_cancelled_run,
    dropped_with_a_run_that_the_loop_cancelled,
    dropped_after_a_handler_failed,
    dropped_in_the_middle_of_a_handler,
    dropped_without_leaving_its_with_block,
    dropped_store,
    dropped_log,
    dropped_iterator,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.removeprefix("dropped_"))
def test_dropped_it_releases_lock_and_threads(tmp_path, way):
    way(tmp_path)
    gc.collect()
    assert is_free(tmp_path)


@pytest.mark.parametrize(
    "way", [dropped_after_publish, dropped_log, dropped_store], ids=lambda way: way.__name__
)
def test_dropped_it_does_not_wait_for_the_collector(tmp_path, way):
    gc.disable()
    try:
        way(tmp_path)
        assert is_free(tmp_path)
    finally:
        gc.enable()


def test_the_threads_that_have_to_go_can_be_seen(tmp_path):
    with aresbus.open(tmp_path):
        assert threads_of_ours()


def test_a_log_left_open_is_closed_at_exit(tmp_path):
    script = f"import aresbus; log = aresbus.open({str(tmp_path)!r}); log.append('note', 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with aresbus.open(tmp_path) as log:
        assert log.recovery["clean"]
        assert log.last_seq == 0
