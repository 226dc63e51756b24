"""What a durable subscription remembers stays small, and nothing of it that counts is forgotten on the way."""

import time

import pytest
from aresbus.errors import HandlerError
from aresbus.places import anchor_of
from aresbus.subscriptions import Anchor, ParkedDelivery, checkpoints
from aresbus.subscriptions.checkpoints import Retry, SubscriptionLog
from test_retention import filled, opened
from test_retention_backup import beside

MANY = 12_000
RETRY = Retry(7, "id", 2, "again", 12)


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SEGMENT_BYTES", 65_536)
    monkeypatch.setattr(checkpoints, "SHRINK_EVERY", 1_000)
    with opened(tmp_path / "log") as log:
        filled(log, 400)
        yield log


def parked(memory, event, padding=""):
    error = HandlerError(f"no {padding}", handler="h", seq=event.seq, event_id=event.event_id)
    memory.park(ParkedDelivery(event, 3, error, anchor_of(event), event.aggregate_id))


def moved(memory, begin, count=MANY):
    for n in range(begin, begin + count):
        memory.advance(Anchor(1, n, "x" * 60))


def shrunk(memory):
    """The segments that are left once all that may go has gone; the sealer needs its time."""
    for _ in range(2_000):
        memory.shrink()
        count = len(memory._log.stats()["segments"])
        if count < checkpoints.SHRINK_SEGMENTS:
            return count
        memory._log.wait(memory._log.last_seq, 0.01)
    raise AssertionError(count)


def test_a_delivery_that_nobody_looks_after_keeps_nothing_but_itself(log):
    events = list(log.read())
    memory = SubscriptionLog(log, "desk")
    for event in events[:3]:
        parked(memory, event)
    memory.wish(anchor_of(events[1]))
    memory.note_retry(RETRY)
    for again in range(3):
        moved(memory, again * MANY)
        shrunk(memory)
    assert memory._log.first_seq > 2 * MANY
    memory.resolve(anchor_of(events[2]), "dropped")
    with_key = memory.holds(events[0].aggregate_id, anchor_of(events[9]))
    memory.close()
    for mode in ("rw", "r"):
        memory = SubscriptionLog(log, "desk", mode=mode)
        assert memory.checkpoint == Anchor(1, 3 * MANY - 1, "x" * 60)
        assert memory.retry == RETRY
        assert [one.event for one in memory.deliveries()] == events[:2]
        assert [one.place for one in memory.wished()] == [anchor_of(events[1])]
        assert memory.holds(events[0].aggregate_id, anchor_of(events[9])) is with_key is True
        memory.close()


def test_what_is_mostly_parked_is_left_as_it_is(log):
    memory = SubscriptionLog(log, "desk")
    for event in log.read():
        parked(memory, event)
    before = memory._log.last_seq
    memory.shrink()
    assert (memory._log.first_seq, memory._log.last_seq) == (0, before)
    moved(memory, 0, 300)
    memory.shrink()
    assert memory._log.first_seq == 0
    memory.close()


def test_a_delivery_larger_than_a_segment_is_said_again_too(log):
    (event,) = log.read(limit=1)
    memory = SubscriptionLog(log, "desk")
    parked(memory, event, "x" * 200_000)
    moved(memory, 0)
    memory.close()
    memory = SubscriptionLog(log, "desk")  # with segments that it does not fit, which opening finds out
    shrunk(memory)
    assert memory._log.first_seq > 0
    assert [one.event for one in memory.deliveries()] == [event]
    memory.close()


def test_beside_the_loop_that_parks_and_resolves_and_a_reader_that_looks(log):
    events = list(log.read())
    memory = SubscriptionLog(log, "desk")
    for event in events[:50]:
        parked(memory, event)
    begins = iter(range(0, 10**9, 1_000))

    def look(_):
        looking = SubscriptionLog(log, "desk", mode="r")
        assert {one.event.seq for one in looking.deliveries()} >= set(range(25))
        looking.close()

    n = 0
    with beside(lambda _: moved(memory, next(begins), 1_000)), beside(look):
        deadline = time.monotonic() + 60
        while memory._log.first_seq < 5_000 and time.monotonic() < deadline:
            event = events[25 + n % 25]
            memory.resolve(anchor_of(event), "dropped")
            memory.note_retry(Retry(7, "id", n, "again", 12))
            assert len(memory.deliveries()) == 49
            parked(memory, event)
            n += 1
    memory.close()
    memory = SubscriptionLog(log, "desk")
    assert memory._log.first_seq > 0
    assert [one.event for one in memory.deliveries()] == events[:50]
    assert memory.retry.attempts == n - 1
    memory.close()
