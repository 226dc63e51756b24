"""A process that forks with durable subscriptions (R22): the child has no handle that works, the parent all it had.

Knows nothing of the engine's own handles; test_core_handle.py and test_bus_life.py have those.
"""

import subprocess
import sys

import aresbus
import pytest
from aresbus.subscriptions.checkpoints import SubscriptionLog
from bus_support import Seen, make_bus, run

FORKING = """if True:
    import asyncio, os, sys, warnings
    import aresbus
    from aresbus import EnhancedEventBus, LogClosedError, LogLockedError
    warnings.simplefilter("ignore")  # from 3.12 on Python warns of forks beside threads; that is the subject here
    path, mode, is_running, ending = sys.argv[1:]

    def on_event(event):
        if event.data == 1:
            raise ValueError("poison")

    config = {"event_bus": {"storage_path": path, "processing_interval": 0.001}}
    writer = aresbus.open(path) if mode == "r" else None
    if writer is not None:
        writer.append("risk_alert", "before")
    bus = EnhancedEventBus(config, mode=mode, strict=True)

    async def publish(*numbers):
        for n in numbers:
            if writer is None:
                await bus.publish("risk_alert", n, aggregate_id="a")
            else:
                writer.append("risk_alert", n, aggregate_id="a")

    def outcome(call):
        try:
            result = call()
            if asyncio.iscoroutine(result) or hasattr(type(result), "__await__"):
                asyncio.new_event_loop().run_until_complete(asyncio.wait_for(result, 20))
        except aresbus.AresbusError as error:
            return type(error).__name__
        return "done"

    def child():
        handles = (
            mine.parked, mine.drop_parked, mine.redeliver_parked, bus.log.read, lambda: bus.log.last_seq,
            lambda: bus.trace("x"), bus.replay_events,
        )
        if is_running != "running":  # that it runs on another loop would be the first answer
            handles += (bus.run, bus.process_pending)
        print(*{outcome(call) for call in handles})
        print(outcome(lambda: bus.subscribe("risk_alert", print, name="other")))
        if writer is None:
            print(outcome(lambda: bus.publish("risk_alert", "child")))
            print(outcome(lambda: aresbus.open(path)))
        again = EnhancedEventBus(config, mode="r", strict=True)
        again.subscribe("risk_alert", print, name="desk")
        print(outcome(again.initialize))  # the name is its parent's still
        mine.resume(), bus.get_status(), mine.unsubscribe()
        if is_running != "running":
            print(outcome(bus.stop))
        sys.stdout.flush()
        if ending == "_exit":
            os._exit(0)
        sys.exit(0)

    def fork():
        sys.stdout.flush()
        if (pid := os.fork()) == 0:
            child()
        assert os.waitpid(pid, 0)[1] == 0

    async def begin():
        global mine
        await bus.initialize()
        mine = bus.subscribe("risk_alert", on_event, name="desk", after="start", max_retries=0)
        if is_running == "running":
            running = asyncio.create_task(bus.run())
        await publish(0, 1, 2)
        (writer or bus.log).sync()
        if is_running == "running":
            while len(mine.parked()) < 2:
                await asyncio.sleep(0)
            fork()
            await publish(3, 4)
            (writer or bus.log).sync()
            await bus.stop()
            await running
        else:
            await bus.process_pending()

    asyncio.run(begin())  # closed before the fork: a child that ends would spoil the loop of its parent
    if is_running != "running":
        fork()

        async def end():
            await publish(3, 4)
            (writer or bus.log).sync()
            await bus.process_pending()
            assert len(mine.parked()) == 4 and mine.is_active
            await bus.stop()

        asyncio.run(end())
    if writer is not None:
        writer.close()
"""


# A child in the middle of its parent's loop cannot but _exit: winding that loop up would break it for both.
@pytest.mark.parametrize(
    ("is_running", "ending"), [("running", "_exit"), ("between", "_exit"), ("between", "sys.exit")]
)
@pytest.mark.parametrize("mode", ["rw", "r"])
def test_a_forked_child_has_no_durable_subscription_and_its_parent_keeps_all(
    tmp_path, mode, is_running, ending
):
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(tmp_path), mode, is_running, ending],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    by_writer = ["LogClosedError", "LogLockedError"] if mode == "rw" else []
    stopped = ["done"] if is_running == "between" else []
    assert told == ["LogClosedError", "done", *by_writer, "LogLockedError", *stopped]
    with aresbus.open(tmp_path, mode="r") as log:
        assert [event.data for event in log.read() if event.data != "before"] == [0, 1, 2, 3, 4]
        memory = SubscriptionLog(log, "desk", mode="r")
        assert memory.checkpoint is not None
        # What a reader knows to be durable is the writer's watermark, which may be behind.
        assert memory.checkpoint.seq == log.last_seq or mode == "r"
        assert [one.event.data for one in memory.deliveries()] == [1, 2, 3, 4]
        memory.close()
    with aresbus.open(next((tmp_path / "subscriptions").iterdir())) as own:
        assert own.recovery["clean"]

    async def go_on():
        bus, seen = make_bus(tmp_path), Seen()
        mine = bus.subscribe("risk_alert", seen, name="desk")
        await bus.initialize()
        assert await mine.redeliver_parked() == (4, 0)
        await bus.stop()
        assert seen == [1, 2, 3, 4]

    run(go_on())
