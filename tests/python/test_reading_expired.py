"""Who reads events that are no longer kept: an error, or the message that subscriptions get, by choice."""

import gc
import weakref

import aresbus
import pytest
from aresbus import ManualClock, RetentionPolicy, TruncatedError
from aresbus.subscriptions import Lost
from test_retention import NOW_NS, drained, filled, opened, sealed

FEW = RetentionPolicy(max_events=150)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log without its first events; ``order-gone`` had one of them."""
    folder = tmp_path_factory.mktemp("expired") / "log"
    with opened(folder, ManualClock(NOW_NS)) as log:
        log.append("opened", {}, aggregate_id="order-gone")
        filled(log, 400)
        sealed(log)
        drained(log, FEW)
        assert log.first_seq > 100
        yield log


def heard(read, **query):
    """Positions and messages in the order in which they come."""
    told = []
    for event in read(on_message=told.append, **query):
        told.append(event.seq)  # noqa: PERF401 - the messages come between
    return told


@pytest.mark.parametrize("mode", ["rw", "r"])
def test_the_reader_chooses_an_error_or_a_message(log, mode):
    with aresbus.open(log.path, mode="r") as beside:
        reader, first, last = (log if mode == "rw" else beside), log.first_seq, log.last_seq
        with pytest.raises(TruncatedError) as error:
            list(reader.read(after=4))
        assert error.value.first_seq == first
        kept = list(range(first, last + 1))
        assert heard(reader.read, after=4) == [Lost(5, first), *kept]
        assert heard(reader.read, after=4, limit=3) == [Lost(5, first), *kept[:3]]
        assert heard(reader.read, up_to=9) == [Lost(0, first)]
        assert heard(reader.read, after=2, up_to=first + 1) == [Lost(3, first), first, first + 1]
        assert heard(reader.read) == kept
        assert heard(reader.read, after=first - 1) == kept
        assert heard(reader.follow, after=4, timeout=0) == [Lost(5, first), *kept]


def test_of_an_aggregate_it_hears_what_a_whole_one_lacks(log):
    first = log.first_seq
    own = [event.seq for event in log.read(aggregate_id="order-3", after=first - 1)]
    assert heard(log.read, aggregate_id="order-3") == [Lost(0, first), *own]
    assert heard(log.read, aggregate_id="order-3", types="tick", limit=2) == [Lost(0, first), *own[:2]]
    assert heard(log.read, aggregate_id="order-gone") == [Lost(0, first)]
    assert heard(log.read, aggregate_id="nobody") == []


def test_backward_it_hears_of_it_where_it_would_come(log):
    first, last = log.first_seq, log.last_seq
    kept = list(range(last, first - 1, -1))
    assert heard(log.read, direction="backward", after=4) == [*kept, Lost(5, first)]
    assert heard(log.read, direction="backward", limit=2) == kept[:2]
    own = [event.seq for event in log.read(aggregate_id="order-3", after=first - 1)]
    assert heard(log.read, direction="backward", aggregate_id="order-3") == [*own[::-1], Lost(0, first)]


def test_overtaken_in_the_middle_it_hears_from_where_it_stood(tmp_path):
    with opened(tmp_path) as log:
        filled(log, 600)
        sealed(log)
        told = []
        with aresbus.open(tmp_path, mode="r") as beside:
            events = beside.read(on_message=told.append)
            seen = [next(events).seq]
            drained(log, FEW)
            seen += [event.seq for event in events]
        (lost,) = told
        assert lost.to_seq == log.first_seq
        assert seen == [*range(lost.from_seq), *range(lost.to_seq, log.last_seq + 1)]


def test_a_log_in_memory_tells_too():
    with aresbus.Log(None, memory_bytes=262_144) as log:
        filled(log, 600)
        assert log.first_seq > 0
        assert heard(log.read, after=0, limit=1) == [Lost(1, log.first_seq), log.first_seq]


def test_what_the_listener_raises_is_the_readers_and_it_has_to_be_one(log):
    def refuse(message):
        raise RuntimeError(str(message))

    events = log.read(after=4, on_message=refuse)
    with pytest.raises(RuntimeError, match="Lost"):
        next(events)
    assert next(events).seq == log.first_seq
    for call in (log.read, log.follow):
        with pytest.raises(TypeError, match="on_message takes a callable"):
            call(on_message="message")


def test_a_listener_that_holds_its_iterator_goes_with_it(log):
    class Listener:
        def __call__(self, message):
            raise AssertionError(message)

    listener = Listener()
    listener.events = log.read(on_message=listener)
    gone = weakref.ref(listener)
    del listener
    gc.collect()
    assert gone() is None
