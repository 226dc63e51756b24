"""Pause, step, seek and pace of a replay. Waiting is reckoned on a timer that does not sleep; no test looks at a real one."""

import asyncio
import threading

import aresbus
import pytest
from aresbus import BusStateError, Replay
from aresbus.replay.pace import Pace, RealTimer
from bus_support import run, until
from replay_support import ORDER, SECOND_NS, START_NS, TICK, FakeTimer, Ticks, write_ticks


@pytest.fixture
def log():
    return write_ticks(None)


@pytest.fixture
def timer():
    return FakeTimer()


def paced(log, timer, **options):
    replay = Replay(log, timer=timer, **options)
    ticks = Ticks()
    replay.subscribe(TICK, ticks)
    return replay, ticks


# Pace


@pytest.mark.parametrize(
    ("speed", "waits"), [(None, []), (1, [1.0] * 9), (4.0, [0.25] * 9), (0.5, [2.0] * 9), (1e12, None)]
)
def test_gaps_are_waited_for_in_proportion(log, timer, speed, waits):
    replay, ticks = paced(log, timer, speed=speed)
    replay.run()
    assert ticks == list(range(10))
    if waits is not None:
        assert timer.waits == waits


def test_pace_goes_by_the_chosen_time(timer):
    log = aresbus.Log(None, clock=aresbus.ManualClock(START_NS))
    for number, event_time in enumerate((0, 3, 4)):
        log.append(TICK, {"n": number}, event_time_ns=event_time * SECOND_NS)
    paced(log, timer, speed=1.0)[0].run()
    assert timer.waits == []
    paced(log, timer, speed=1.0, time="event")[0].run()
    assert timer.waits == [3.0, 1.0]


def test_late_sleeps_and_slow_handlers_add_no_drift(log, timer):
    """Each wait is cut by what was overslept before; what a handler used up is caught up with."""
    replay, _ = paced(log, timer, speed=1.0)
    timer.when_asked = lambda seconds: seconds + 0.25
    replay.subscribe(
        TICK, lambda event: setattr(timer, "now_ns", timer.now_ns + (event.data["n"] == 4) * 3 * SECOND_NS)
    )
    began = timer.now_ns
    replay.run()
    # Ticks 5, 6 and 7 were due while the handler of 4 held everything.
    assert timer.waits == [1.25, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert timer.now_ns - began == 9.25 * SECOND_NS


def test_a_recorded_time_that_steps_back_costs_no_wait(timer):
    log = aresbus.Log(None)
    for number, event_time in enumerate((10, 11, 5, 12)):
        log.append(TICK, {"n": number}, event_time_ns=event_time * SECOND_NS)
    replay, ticks = paced(log, timer, speed=1.0, time="event")
    replay.run()
    assert timer.waits == [1.0, 1.0]
    assert ticks == [0, 1, 2, 3]


def test_the_speed_may_change_while_it_waits(log, timer):
    replay, _ = paced(log, timer, speed=1.0)

    def half_then_faster(seconds):
        if len(timer.waits) == 2:
            timer.now_ns += SECOND_NS // 2
            replay.speed = 10
            return 0.0
        return seconds

    timer.when_asked = half_then_faster
    replay.run()
    # Half of the third gap went by at speed 1; its other half and the rest go by ten times as fast.
    assert timer.waits == [1.0, 1.0, 0.0, 0.05] + [0.1] * 6
    assert replay.speed == 10.0


def test_the_speed_may_be_taken_off_and_put_on_again(log, timer):
    replay, _ = paced(log, timer, speed=1.0)

    def change(event):
        if event.data["n"] == 2:
            replay.speed = None
        if event.data["n"] == 6:
            replay.speed = 2.0

    replay.subscribe(TICK, change)
    replay.run()
    assert timer.waits == [1.0, 1.0, 0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="above 0"):
        replay.speed = 0


def test_real_time_passes_and_a_change_ends_the_wait():
    async def scenario():
        timer, changed = RealTimer(), asyncio.Event()
        pace = Pace(1.0, timer)
        assert pace.seconds_until(1_000) == 0.0
        assert 0.0 < pace.seconds_until(1_000 + 3_600 * SECOND_NS) <= 3_600.0
        before = timer.monotonic_ns()
        await timer.wait(changed, 0.002)
        assert timer.monotonic_ns() - before >= 1_000_000
        waiting = asyncio.create_task(timer.wait(changed, 3_600.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        changed.set()
        await waiting

    run(scenario())


# Pause


def test_a_handler_may_pause_a_run_which_then_returns_and_goes_on_when_run_again(log):
    replay = Replay(log)
    ticks = Ticks()
    replay.subscribe(TICK, lambda event: event.data["n"] % 4 == 3 and replay.pause())
    replay.subscribe(TICK, ticks)
    reports = []
    while not (reports and reports[-1].is_finished):
        reports.append(replay.run())
    assert [report.position for report in reports] == [3, 7, 9]
    assert ticks == list(range(10))


def test_while_paused_the_recorded_time_stands_still(log, timer):
    async def scenario():
        replay, ticks = paced(log, timer, speed=1.0)

        def pause_in_the_middle(seconds):
            if len(timer.waits) == 2:
                timer.now_ns += SECOND_NS // 4
                replay.pause()
                return 0.0
            return seconds

        timer.when_asked = pause_in_the_middle
        running = asyncio.create_task(replay.run_async())
        await until(lambda: replay.is_paused)
        for _ in range(10):
            await asyncio.sleep(0)
        assert ticks == [0, 1, 2]
        timer.now_ns += 1_000 * SECOND_NS  # somebody looks at it for a while
        replay.resume()
        await running
        assert ticks == list(range(10))
        assert timer.waits == [1.0, 1.0, 0.0, 0.75] + [1.0] * 6

    run(scenario())


def test_pause_and_resume_reach_a_run_in_another_thread(log):
    replay = Replay(log, speed=0.01)  # a hundred seconds between two events
    first = threading.Event()
    replay.subscribe(TICK, lambda event: first.set())
    reports = []
    thread = threading.Thread(target=lambda: reports.append(replay.run()))
    thread.start()
    assert first.wait(20)
    replay.pause()
    thread.join(20)
    assert not thread.is_alive()
    assert (reports[0].replayed, reports[0].is_finished) == (1, False)


def test_a_run_that_is_cancelled_can_be_taken_up_again(log):
    async def scenario():
        replay = Replay(log, speed=0.01)
        ticks = Ticks()
        replay.subscribe(TICK, ticks)
        running = asyncio.create_task(replay.run_async())
        await until(lambda: ticks)
        with pytest.raises(BusStateError, match="running already"):
            await replay.run_async()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        replay.speed = None
        assert (await replay.run_async()).is_finished
        assert ticks == list(range(10))

    run(scenario())


# Step


def test_a_step_takes_so_many_events_whatever_their_time(log, timer):
    replay, ticks = paced(log, timer, speed=1.0)
    replay.subscribe(TICK, lambda event: replay.publish(ORDER, {}))
    assert replay.step() == 1
    assert replay.step(3) == 3
    assert (ticks, replay.position, replay.report().published) == ([0, 1, 2, 3], 3, 4)
    assert replay.clock.time_ns() == START_NS + 3 * SECOND_NS
    assert timer.waits == []
    replay.run()
    assert timer.waits == [1.0] * 6  # from where the steps ended
    assert (replay.step(5), ticks) == (0, list(range(10)))


def test_stepping_through_and_running_through_come_to_the_same(log):
    stepped, straight = Replay(log), Replay(log)
    while stepped.step(3):
        pass
    assert stepped.report() == straight.run()


@pytest.mark.parametrize("n", [0, -1])
def test_a_step_of_nothing_is_refused(log, n):
    with pytest.raises(ValueError, match="from 1 on"):
        Replay(log).step(n)


def test_a_paused_run_is_stepped_and_then_goes_on(log):
    async def scenario():
        replay = Replay(log)
        ticks = Ticks()
        replay.subscribe(TICK, ticks)
        replay.pause()
        running = asyncio.create_task(replay.run_async())
        await asyncio.sleep(0)
        await asyncio.gather(replay.step_async(2), replay.step_async(2))
        assert ticks == [0, 1, 2, 3]
        replay.resume()
        with pytest.raises(BusStateError, match="pause"):
            await replay.step_async()
        assert (await running).is_finished
        assert ticks == list(range(10))

    run(scenario())


def test_a_step_waits_for_the_event_at_hand(log):
    async def scenario():
        replay = Replay(log)
        going, calls = asyncio.Event(), []

        async def slow(event):
            calls.append(("begin", event.data["n"]))
            await going.wait()
            calls.append(("end", event.data["n"]))

        replay.subscribe(TICK, slow)
        running = asyncio.create_task(replay.run_async())
        await until(lambda: calls)
        replay.pause()
        stepping = asyncio.create_task(replay.step_async())
        await asyncio.sleep(0)
        assert calls == [("begin", 0)]
        going.set()
        assert await stepping == 1
        assert calls == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]
        running.cancel()
        await asyncio.wait([running])

    run(scenario())


def test_a_handler_cannot_step_its_own_replay(log):
    async def scenario():
        replay = Replay(log)
        errors = []

        async def step(event):
            replay.pause()
            try:
                await replay.step_async()
            except BusStateError as error:
                errors.append(error)
            replay.resume()

        replay.subscribe(TICK, step)
        await replay.run_async()
        assert len(errors) == 10

    run(scenario())


# Seek


def test_seek_goes_forward_and_back_and_the_clock_with_it(log):
    replay = Replay(log, after=1, up_to=8)
    ticks = Ticks()
    replay.subscribe(TICK, ticks)
    replay.seek(6)
    assert replay.clock.time_ns() == START_NS + 6 * SECOND_NS
    replay.step(2)
    replay.seek(2)
    assert replay.clock.time_ns() == START_NS + 2 * SECOND_NS
    replay.run()
    assert ticks == [6, 7, 2, 3, 4, 5, 6, 7, 8]
    replay.seek(8)
    assert not replay.report().is_finished
    replay.run()
    assert ticks[-2:] == [8, 8]


def test_seek_stops_at_the_first_that_matches(log):
    replay = Replay(log, aggregate_id="m1")
    ticks = Ticks()
    replay.subscribe(TICK, ticks)
    replay.seek(4)
    replay.run()
    assert ticks == [5, 7, 9]


@pytest.mark.parametrize("seq", [-1, 0, 1, 9, 2**70])
def test_a_position_outside_of_the_replay_is_refused(log, seq):
    replay = Replay(log, after=1, up_to=8)
    with pytest.raises(ValueError, match="outside"):
        replay.seek(seq)
    assert replay.run().replayed == 7


def test_an_empty_log_has_no_position(log):
    with pytest.raises(ValueError, match="outside"):
        Replay(aresbus.Log(None)).seek(0)
    with pytest.raises(TypeError):
        Replay(log).seek("3")


def test_seek_from_a_handler_holds_from_the_next_event(log):
    replay = Replay(log)
    ticks = Ticks()
    replay.subscribe(TICK, ticks)
    replay.subscribe(TICK, lambda event: event.data["n"] == 1 and replay.seek(8))
    replay.run()
    assert ticks == [0, 1, 8, 9]


def test_after_a_seek_the_next_event_is_due_at_once(log, timer):
    replay, ticks = paced(log, timer, speed=1.0)
    replay.step()
    replay.seek(7)
    replay.run()
    assert (ticks, timer.waits) == ([0, 7, 8, 9], [1.0, 1.0])
