"""Waiting for the disk on a loop: whatever a sync, its thread or the loop comes to, nobody is left waiting or kept alive.

A log that says what it is told to stands for the real one, which does none of this on demand; test_bus_publish.py has that.
"""

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from types import SimpleNamespace

import pytest
from aresbus.errors import LogClosedError, LogPoisonedError
from aresbus.publishing import Settler

HANDLED = ContextVar("handled", default=None)


class Log:
    """Each sync does the next of ``acts``, then nothing; what is durable it says itself."""

    def __init__(self, *acts, durable=None):
        self.acts, self.durable_seq, self.go_on, self.syncs = list(acts), durable, threading.Event(), 0

    def sync(self):
        self.syncs += 1
        self.go_on.wait(5)
        if self.acts:
            self.acts.pop(0)(self)
        return self.durable_seq


def event(seq):
    return SimpleNamespace(seq=seq, event_id=f"id{seq}")


def durable(seq):
    return lambda log: setattr(log, "durable_seq", seq)


def raising(error):
    def act(log):
        raise error

    return act


async def outcomes(*waiters):
    return await asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), 5)


async def one_begun(settler, log, seq=0):
    """Who came first, and whose sync runs."""
    first = settler.settled(log, event(seq))
    while log.syncs == 0:  # noqa: ASYNC110 - a thread says so
        await asyncio.sleep(0)
    return first


def test_what_is_durable_is_answered_at_once_and_what_comes_meanwhile_by_the_next_sync():
    async def act():
        log, settler = Log(durable(0), durable(2), durable=-1), Settler()
        first = await one_begun(settler, log)
        others = [settler.settled(log, event(seq)) for seq in (1, 2)]
        log.go_on.set()
        assert await outcomes(first, *others) == ["id0", "id1", "id2"]
        assert log.syncs == 2
        assert settler.settled(log, event(2)).done()

    asyncio.run(act())


def test_one_waiter_s_cancellation_is_not_the_others():
    async def act():
        log, settler = Log(durable(9)), Settler()
        waiters = [
            await one_begun(settler, log),
            settler.settled(log, event(1)),
            settler.settled(log, event(2)),
        ]
        waiters[1].cancel()
        log.go_on.set()
        first, cancelled, last = await outcomes(*waiters)
        assert (first, last) == ("id0", "id2")
        assert isinstance(cancelled, asyncio.CancelledError)

    asyncio.run(act())


def test_no_sync_is_owed_to_whoever_gave_up():
    async def act():
        log, settler = Log(durable(0)), Settler()
        first, other = await one_begun(settler, log), settler.settled(log, event(1))
        other.cancel()
        log.go_on.set()
        assert await outcomes(first) == ["id0"]
        await asyncio.sleep(0.05)
        assert log.syncs == 1

    asyncio.run(act())


def test_a_failed_sync_is_told_to_each_with_its_own_event_but_to_none_whose_event_is_durable():
    def elsewhere(log):
        log.durable_seq = 1
        raise LogPoisonedError("no more")

    async def act():
        log, settler = Log(elsewhere), Settler()
        waiters = [await one_begun(settler, log), *(settler.settled(log, event(seq)) for seq in (1, 2, 3))]
        log.go_on.set()
        *well, third, fourth = await outcomes(*waiters)
        assert well == ["id0", "id1"]
        assert [(type(error), error.committed, error.seq) for error in (third, fourth)] == [
            (LogPoisonedError, True, 2),
            (LogPoisonedError, True, 3),
        ]

    asyncio.run(act())


def test_a_sync_of_somebody_else_s_counts():
    async def act():
        log, settler = Log(durable(5), raising(LogPoisonedError("no more"))), Settler()
        first = await one_begun(settler, log)
        second = settler.settled(log, event(5))
        log.go_on.set()
        assert await outcomes(first, second) == ["id0", "id5"]
        assert log.syncs == 1

    asyncio.run(act())


class OddError(LogPoisonedError):
    def __init__(self):
        super().__init__("odd")


@pytest.mark.parametrize("error", [MemoryError(), OddError(), ValueError("what"), KeyboardInterrupt()])
def test_any_error_of_a_sync_reaches_everybody(error):
    async def act():
        log, settler = Log(raising(error)), Settler()
        waiters = [await one_begun(settler, log), settler.settled(log, event(1))]
        log.go_on.set()
        assert [type(outcome) for outcome in await outcomes(*waiters)] == [type(error)] * 2

    asyncio.run(act())


@pytest.mark.parametrize("error", [MemoryError, RuntimeError])
def test_a_thread_that_cannot_be_had_is_told_to_everybody(error):
    class Pool(ThreadPoolExecutor):
        calls = 0

        def submit(self, *args, **kwargs):
            self.calls += 1
            if self.calls == 2:
                raise error
            return super().submit(*args, **kwargs)

    async def act():
        asyncio.get_running_loop().set_default_executor(Pool(1))
        log, settler = Log(durable(0)), Settler()
        waiters = [await one_begun(settler, log), *(settler.settled(log, event(seq)) for seq in (1, 2))]
        log.go_on.set()
        assert [type(outcome) for outcome in await outcomes(*waiters)] == [str, error, error]
        log.acts.append(durable(9))
        assert await outcomes(settler.settled(log, event(9))) == ["id9"]

    asyncio.run(act())


def test_a_closed_log_is_an_error_of_the_event_and_leaves_no_cycle():
    class Closed(Log):
        durable_seq = property(
            lambda self: (_ for _ in ()).throw(LogClosedError("closed")), lambda self, seq: None
        )

    async def act():
        log, settler = Closed(), Settler()
        (error,) = await outcomes(settler.settled(log, event(3)))
        assert (type(error), error.committed, error.seq) == (LogClosedError, True, 3)
        del error
        gc.collect()
        gc.disable()
        try:
            for seq in range(50):
                await outcomes(settler.settled(log, event(seq)))
            found = gc.collect()
        finally:
            gc.enable()
        assert found < 200  # asyncio's own wait makes some

    asyncio.run(act())


def test_a_loop_that_was_closed_while_its_sync_ran_is_let_go():
    log, settler, loops = Log(durable(9)), Settler(), []

    def on_a_loop():
        loop = asyncio.new_event_loop()
        loops.append(weakref.ref(loop))

        async def act():
            settler.settled(log, event(1))

        loop.run_until_complete(act())
        loop.close()

    for _ in range(4):
        on_a_loop()
    log.go_on.set()

    async def last():
        assert await outcomes(settler.settled(log, event(1))) == ["id1"]

    asyncio.run(last())
    gc.collect()
    assert [loop() for loop in loops] == [None] * 4


def test_the_context_of_whoever_came_first_is_not_kept_by_those_who_come_later():
    class Handled:
        pass

    async def act():
        log, settler = Log(*(durable(seq) for seq in range(100))), Settler()
        handled = Handled()
        seen = weakref.ref(handled)

        async def first(handled):
            HANDLED.set(handled)
            return await one_begun(settler, log)

        task = asyncio.create_task(first(handled))
        del handled
        while log.syncs == 0:  # noqa: ASYNC110 - a thread says so
            await asyncio.sleep(0)
        waiter = settler.settled(log, event(1))
        log.go_on.set()
        await (await task)
        del task
        for seq in range(2, 20):  # each sync leaves somebody waiting
            waiter, before = settler.settled(log, event(seq)), waiter
            await before
            assert not waiter.done()
        gc.collect()
        assert seen() is None
        await asyncio.wait_for(waiter, 5)

    asyncio.run(act())
