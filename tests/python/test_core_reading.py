"""Reading through the compiled log: filters, times, iterators and their positions, following, many threads."""

import datetime as dt
import itertools
import threading
import time

import numpy as np
import pytest
from aresbus import _core, errors

SECOND = 1_000_000_000


@pytest.fixture
def clock():
    return _core.ManualClock(1_700_000_000 * SECOND)


@pytest.fixture
def log(clock):
    with _core.Log(None, clock=clock) as log:
        yield log


@pytest.fixture
def filled(log, clock):
    """Ten events a second apart: types a b a b …, aggregates x y z x y z …, every second with a time of its own."""
    for at in range(10):
        own = clock.time_ns() - 3600 * SECOND if at % 2 else None
        log.append("ab"[at % 2], at, aggregate_id="xyz"[at % 3], event_time_ns=own)
        clock.advance_ns(SECOND)
    return log


def seqs(events):
    return [event.seq for event in events]


def test_all_in_order(filled):
    assert seqs(filled.read()) == list(range(10))
    assert [event.data for event in filled.read()] == list(range(10))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"after": 6}, [7, 8, 9]),
        ({"after": 9}, []),
        ({"after": 2**63}, []),
        ({"up_to": 2}, [0, 1, 2]),
        ({"after": 2, "up_to": 4}, [3, 4]),
        ({"after": 4, "up_to": 2}, []),
        ({"limit": 3}, [0, 1, 2]),
        ({"limit": 0}, []),
        ({"after": 3, "limit": 2, "types": "a"}, [4, 6]),
        ({"types": "a"}, [0, 2, 4, 6, 8]),
        ({"types": ["b"]}, [1, 3, 5, 7, 9]),
        ({"types": iter(["a", "b"])}, list(range(10))),
        ({"types": []}, []),
        ({"types": "nothing"}, []),
        ({"aggregate_id": "x"}, [0, 3, 6, 9]),
        ({"aggregate_id": "x", "types": "b"}, [3, 9]),
        ({"aggregate_id": "x", "after": 0, "up_to": 6}, [3, 6]),
        ({"aggregate_id": "nobody"}, []),
        ({"after": np.int64(7)}, [8, 9]),
        ({"durable": True}, list(range(10))),
    ],
    ids=str,
)
def test_filters(filled, arguments, expected):
    assert seqs(filled.read(**arguments)) == expected


def test_times_are_inclusive_then_exclusive(filled):
    start = 1_700_000_000 * SECOND
    assert seqs(filled.read(since=start + 2 * SECOND, until=start + 5 * SECOND)) == [2, 3, 4]
    assert seqs(filled.read(since=start + 2 * SECOND + 1)) == list(range(3, 10))
    assert seqs(filled.read(until=start)) == []
    assert seqs(filled.read(until=start, time="event")) == [1, 3, 5, 7, 9]
    assert seqs(filled.read(since=start, time="event")) == [0, 2, 4, 6, 8]


def test_aware_datetimes_are_exact_in_any_zone(filled):
    at = dt.datetime.fromtimestamp(1_700_000_003, dt.UTC)
    zone = dt.timezone(dt.timedelta(hours=-5, minutes=-30))
    assert seqs(filled.read(since=at, until=at + dt.timedelta(seconds=1))) == [3]
    assert seqs(filled.read(since=at.astimezone(zone), until=at + dt.timedelta(microseconds=1))) == [3]
    assert seqs(filled.read(since=at + dt.timedelta(microseconds=1))) == list(range(4, 10))
    assert seqs(filled.read(since=dt.datetime(1969, 12, 31, tzinfo=dt.UTC), limit=1)) == [0]
    assert seqs(filled.read(until=dt.datetime(1900, 1, 1, tzinfo=dt.UTC))) == []


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"since": dt.datetime(2026, 1, 1)}, ValueError),  # noqa: DTZ001 - a naive one
        ({"until": dt.datetime(2026, 1, 1)}, ValueError),  # noqa: DTZ001 - a naive one
        ({"since": dt.datetime(9999, 1, 1, tzinfo=dt.UTC)}, ValueError),
        ({"since": 2**63}, ValueError),
        ({"since": 1.5}, TypeError),
        ({"since": True}, TypeError),
        ({"since": "2026-01-01"}, TypeError),
        ({"since": dt.date(2026, 1, 1)}, TypeError),
        ({"after": -1}, ValueError),
        ({"after": "1"}, TypeError),
        ({"limit": -1}, ValueError),
        ({"up_to": 2**64}, ValueError),
        ({"time": "log"}, errors.ConfigError),
        ({"types": 5}, TypeError),
        ({"types": [5]}, TypeError),
        ({"aggregate_id": 5}, TypeError),
        ({"unknown": 5}, TypeError),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(filled, arguments, kind):
    with pytest.raises(kind):
        filled.read(**arguments)


def test_a_read_ends_at_what_was_committed_when_it_began(log):
    log.append("t", 0)
    events = log.read()
    log.append("t", 1)
    assert seqs(events) == [0]
    assert seqs(events) == []  # an iterator that has ended stays so


class TestPosition:
    """Where an iterator stands, for whoever wants to go on from there later."""

    def test_never_runs_ahead_of_what_was_given_out(self, log):
        log.append_many([("t", at) for at in range(1000)])
        events = log.read()
        assert events.position is None
        for event in itertools.islice(events, 600):
            assert events.position == event.seq

    def test_passes_events_that_do_not_match(self, log):
        log.append_many([("wanted" if at % 100 == 50 else "other", at) for at in range(1000)])
        events = log.read(types="wanted")
        assert [(event.seq, events.position) for event in itertools.islice(events, 2)] == [
            (50, 149),
            (150, 249),
        ]
        assert len(list(events)) == 8
        assert events.position == 999

    def test_starts_where_the_read_does(self, log):
        log.append_many([("t", at) for at in range(10)])
        events = log.read(after=4)
        assert events.position == 4
        next(events)
        assert events.position == 5
        assert events.skipped_records == 0


class TestFollow:
    """Following: a read that waits at its end."""

    def test_gives_what_is_there_then_what_comes(self, log):
        log.append("t", 0)
        events = log.follow(timeout=10)
        assert next(events).seq == 0
        threading.Timer(0.05, log.append, ("t", 1)).start()
        assert next(events).seq == 1

    def test_ends_after_its_timeout_and_stays_ended(self, log):
        log.append("t", 0)
        events = log.follow(timeout=0.15)
        assert seqs(events) == [0]
        log.append("t", 1)
        assert seqs(events) == []
        assert seqs(log.follow(timeout=0)) == [0, 1]

    def test_the_timeout_counts_from_the_last_match(self, log):
        writer = threading.Thread(target=lambda: [(time.sleep(0.1), log.append("t", at)) for at in range(4)])
        writer.start()
        assert seqs(log.follow(timeout=5))[:0] == []
        writer.join()
        assert len(list(log.follow(timeout=0))) == 4

    def test_filters(self, log):
        log.append_many(
            [
                (
                    "ab"[at % 2],
                    at,
                )
                for at in range(6)
            ]
        )
        log.append("a", 6, aggregate_id="x")
        assert seqs(log.follow(after=1, types=["a"], timeout=0)) == [2, 4, 6]
        events = log.follow(aggregate_id="x", timeout=5)
        assert next(events).seq == 6
        log.append("a", 7)
        log.append("a", 8, aggregate_id="x")
        assert next(events).seq == 8

    def test_closing_the_log_ends_it_with_an_error(self, log):
        events = log.follow()
        threading.Timer(0.1, log.close).start()
        start = time.monotonic()
        with pytest.raises(errors.LogClosedError):
            next(events)
        assert time.monotonic() - start < 5

    def test_another_process_is_not_needed_for_a_second_handle(self, tmp_path):
        with _core.Log(tmp_path / "log") as writer, _core.Log(tmp_path / "log", mode="r") as reader:
            events = reader.follow(timeout=10)
            for at in range(100):
                writer.append("t", at)
                assert next(events).data == at
            assert reader.last_seq == 99


class TestWait:
    """Log.wait: has anything come?"""

    def test_answers_at_once_where_there_is_something(self, log):
        assert log.wait(None, 0) is False
        log.append("t", 0)
        assert log.wait(None, 0) is True
        assert log.wait(0, 0) is False
        assert log.wait(0, -5) is False

    def test_wakes_on_a_commit(self, log):
        threading.Timer(0.05, log.append, ("t", 0)).start()
        start = time.monotonic()
        assert log.wait(None, 10) is True
        assert time.monotonic() - start < 5

    def test_takes_time_as_python_gives_it(self, log):
        log.append("t", 0)
        for timeout in (None, float("inf"), 1e300, 1, np.float64(1)):
            assert log.wait(None, timeout) is True
        with pytest.raises(ValueError, match="NaN"):
            log.wait(None, float("nan"))
        with pytest.raises(TypeError):
            log.wait(None, "1")

    def test_other_threads_go_on_meanwhile(self, log):
        waiter = threading.Thread(target=log.wait, args=(None, 30))
        waiter.start()
        count = sum(1 for _ in range(100_000))
        log.append("t", 0)
        waiter.join(10)
        assert (count, waiter.is_alive()) == (100_000, False)


class TestThreads:
    """Every method may be called from any thread."""

    def test_many_writers_and_readers(self, tmp_path):
        count, writers = 400, 4
        with _core.Log(tmp_path / "log", segment_bytes=65_536) as log:

            def write(name):
                for at in range(count):
                    log.append("t", [name, at, "x" * 100], aggregate_id=name)

            seen = []

            def read():
                events = log.follow(timeout=30)
                seen.append([tuple(event.data[:2]) for event in itertools.islice(events, count * writers)])

            threads = [threading.Thread(target=write, args=(str(at),)) for at in range(writers)]
            threads += [threading.Thread(target=read) for _ in range(2)]
            [thread.start() for thread in threads]
            [thread.join(60) for thread in threads]
            assert seen[0] == seen[1] == [tuple(event.data[:2]) for event in log.read()]
            for name in map(str, range(writers)):
                assert [at for writer, at in seen[0] if writer == name] == list(range(count))
            assert log.verify()["findings"] == []

    def test_one_iterator_shared_by_threads_gives_each_event_once(self, log):
        log.append_many([("t", at) for at in range(5000)])
        events, taken = log.read(), []

        def take():
            for event in events:
                taken.append(event.seq)
                assert events.position is not None

        threads = [threading.Thread(target=take) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sorted(taken) == list(range(5000))

    def test_a_follower_in_another_thread_keeps_no_position_waiting(self, log):
        events = log.follow(timeout=2)
        follower = threading.Thread(target=lambda: list(events))
        follower.start()
        start = time.monotonic()
        for _ in range(1000):
            assert events.position is None
        assert time.monotonic() - start < 1
        follower.join()

    def test_closing_under_writers_refuses_the_rest(self):
        log, refused = _core.Log(None), []

        def write():
            try:
                while True:
                    log.append("t", 1)
            except errors.LogClosedError as error:
                refused.append(error)

        threads = [threading.Thread(target=write) for _ in range(4)]
        [thread.start() for thread in threads]
        time.sleep(0.05)
        log.close()
        [thread.join(10) for thread in threads]
        assert len(refused) == 4


class TestAtEdges:
    """Empty logs, large events, closed logs."""

    def test_an_empty_log(self, log):
        assert list(log.read()) == []
        assert (log.first_seq, log.last_seq, log.durable_seq) == (0, None, None)
        assert list(log.read(durable=True)) == []

    def test_events_larger_than_a_batch(self, tmp_path):
        with _core.Log(tmp_path / "log") as log:
            for at in range(3):
                log.append_bytes("t", bytes([at]) * 2_000_000)
            assert [(len(event.raw), event.raw[0]) for event in log.read()] == [
                (2_000_000, at) for at in range(3)
            ]

    def test_an_iterator_outlives_a_dropped_log_and_not_a_closed_one(self, tmp_path):
        log = _core.Log(tmp_path / "log")
        log.append_many([("t", at) for at in range(600)])
        events = log.read()
        next(events)
        log.close()
        with pytest.raises(errors.LogClosedError):
            next(events)
        reader = _core.Log(tmp_path / "log", mode="r").read()
        assert len(list(reader)) == 600
