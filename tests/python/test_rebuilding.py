"""Rebuilding to now, a version, a position, a time: the same state with and without snapshots, never a wrong base."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import aresbus
import pytest
from aresbus import Event, EventSnapshot, ManualClock, Reducers, TruncatedError, rebuild
from aresbus.events import datetime_of_ns
from aresbus.places import anchor_of
from aresbus.snapshot_record import STATE, StoredSnapshot, write

START_NS = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


@pytest.fixture
def clock():
    return ManualClock(START_NS)


@pytest.fixture
def log(tmp_path, clock):
    with aresbus.open(tmp_path / "log", clock=clock) as log:
        yield log


@pytest.fixture
def reducers():
    reducers = Reducers()
    reducers.register(None, collect, category="a")
    return reducers


def collect(state, event):
    state.setdefault("n", []).append(event.data)


def fill(log, clock, count=10):
    """Event n of aggregate a at position 2n and second n; between them events of another one."""
    for n in range(count):
        log.append("happened", n, aggregate_id="a")
        log.append("happened", f"other {n}", aggregate_id="b")
        clock.advance_ns(SECOND)


def snapshot_of(log, reducers, *, state=None, to_seq=None):
    """Store a snapshot of the state up to there, or one with a state of its own, to be told from a real one."""
    rebuilt = rebuild(log, "a", reducers, to_seq=to_seq)
    last = rebuilt.last
    snapshot = EventSnapshot(
        str(uuid.uuid4()), datetime.now(UTC), "a", last.seq, rebuilt.state if state is None else state
    )
    stored = StoredSnapshot(
        snapshot,
        kind=STATE,
        aggregate_version=last.aggregate_version,
        reducers=rebuilt.reducers,
        anchor=anchor_of(last),
    )
    write(log, stored)


def numbers(log, reducers, **bounds):
    return rebuild(log, "a", reducers, **bounds).state.get("n", [])


BOUNDS = [
    ({}, 10),
    ({"to_version": 0}, 1),
    ({"to_version": 6}, 7),
    ({"to_version": 99}, 10),
    ({"to_seq": 0}, 1),
    ({"to_seq": 6}, 4),
    ({"to_seq": 7}, 4),
    ({"to_seq": 99}, 10),
    ({"to_time": START_NS - 1}, 0),
    ({"to_time": START_NS}, 1),
    ({"to_time": START_NS + 3 * SECOND - 1}, 3),
    ({"to_time": START_NS + 3 * SECOND}, 4),
    ({"to_time": datetime_of_ns(START_NS + 3 * SECOND)}, 4),
    ({"to_time": datetime.max.replace(tzinfo=UTC)}, 10),
    ({"to_time": datetime(1950, 1, 1, tzinfo=UTC)}, 0),
    ({"to_time": 2**70}, 10),
    ({"to_version": 5, "to_seq": 6, "to_time": START_NS + 7 * SECOND}, 4),
    ({"to_version": 2, "to_seq": 6, "to_time": START_NS + 7 * SECOND}, 3),
    ({"to_version": 5, "to_seq": 6, "to_time": START_NS + SECOND}, 2),
]


@pytest.mark.parametrize("snapshots_at", [(), (4,), (4, 12), (0, 18), (18,)])
@pytest.mark.parametrize("case", BOUNDS, ids=str)
def test_the_state_up_to_a_bound_is_the_same_whatever_snapshots_there_are(
    log, clock, reducers, snapshots_at, case
):
    bounds, count = case
    fill(log, clock)
    for seq in snapshots_at:
        snapshot_of(log, reducers, to_seq=seq)
    rebuilt = rebuild(log, "a", reducers, **bounds)
    assert rebuilt.state.get("n", []) == list(range(count))
    assert rebuilt.version == (count - 1 if count else None)
    assert rebuilt.seq == (2 * (count - 1) if count else None)
    assert rebuilt.ignored_snapshots == 0


@pytest.mark.parametrize(
    ("bounds", "is_used"),
    [
        ({}, True),
        ({"to_seq": 12}, True),
        ({"to_seq": 11}, False),
        ({"to_version": 6}, True),
        ({"to_version": 5}, False),
        ({"to_time": START_NS + 6 * SECOND}, True),
        ({"to_time": START_NS + 6 * SECOND - 1}, False),
    ],
    ids=str,
)
def test_a_snapshot_is_used_up_to_its_own_event_and_not_beyond(log, clock, reducers, bounds, is_used):
    fill(log, clock)
    snapshot_of(log, reducers, to_seq=12, state={"n": ["from the snapshot"]})
    assert (numbers(log, reducers, **bounds)[0] == "from the snapshot") is is_used


def test_a_users_snapshot_serves_a_version_or_a_time_only_where_it_is_of_an_event_of_the_aggregate(
    log, clock, reducers
):
    fill(log, clock)
    for seq, is_used in ((4, True), (5, False), (1_000, False)):
        given = EventSnapshot("s", datetime.now(UTC), "a", seq, {"n": [seq]})
        write(log, StoredSnapshot(given, **anchor(log, seq)))
        assert (numbers(log, reducers, to_version=8)[0] == seq) is is_used
        assert (numbers(log, reducers, to_time=START_NS + 8 * SECOND)[0] == seq) is is_used


def anchor(log, seq):
    event = next(log.read(after=seq - 1, up_to=seq), None)
    if event is None:
        return {}
    return {"aggregate_version": event.aggregate_version, "anchor": anchor_of(event)}


def test_a_clock_that_was_set_back_leaves_no_hole(log, clock, reducers):
    for n, second in enumerate((0, 100, 10, 20, 200)):
        clock.set_ns(START_NS + second * SECOND)
        log.append("happened", n, aggregate_id="a")
    for snapshot_at in (None, 1, 3):
        if snapshot_at is not None:
            snapshot_of(log, reducers, to_seq=snapshot_at)
        for second, wanted in ((5, [0]), (15, [0, 1, 2]), (150, [0, 1, 2, 3]), (200, [0, 1, 2, 3, 4])):
            assert numbers(log, reducers, to_time=START_NS + second * SECOND) == wanted


def test_an_aggregate_that_never_was_has_no_state(log, reducers):
    rebuilt = rebuild(log, "a", reducers, to_version=3)
    assert (rebuilt.state, rebuilt.version, rebuilt.seq, rebuilt.last) == ({}, None, None, None)


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ({"to_version": -1}, ValueError),
        ({"to_seq": -1}, ValueError),
        ({"to_time": -1}, ValueError),
        ({"to_version": True}, TypeError),
        ({"to_seq": 1.0}, TypeError),
        ({"to_seq": "1"}, TypeError),
        ({"to_time": "2024-01-01"}, TypeError),
        ({"to_time": datetime(2024, 1, 1)}, ValueError),  # noqa: DTZ001 - that is the point
    ],
    ids=str,
)
def test_impossible_bounds_are_refused(log, reducers, bounds, error):
    with pytest.raises(error, match=r"got|naive"):
        rebuild(log, "a", reducers, **bounds)


def test_a_time_may_be_in_any_zone(log, clock, reducers):
    fill(log, clock)
    tokyo = datetime_of_ns(START_NS + 3 * SECOND).astimezone(timezone(timedelta(hours=9)))
    assert numbers(log, reducers, to_time=tokyo) == [0, 1, 2, 3]


def test_a_snapshot_of_other_reducers_is_ignored_and_counted(log, clock, reducers):
    fill(log, clock)
    snapshot_of(log, reducers, to_seq=12, state={"n": ["old"]})
    reducers.register("unrelated", collect)
    assert numbers(log, reducers)[0] == "old"
    reducers.register(None, collect, 2, category="a")
    rebuilt = rebuild(log, "a", reducers)
    assert rebuilt.state["n"] == list(range(10))
    assert rebuilt.ignored_snapshots == 1


def test_events_are_presented_before_the_fold_and_the_stored_one_is_the_last(log, clock, reducers):
    fill(log, clock, 3)

    def twice(event):
        return [Event(event.event_type, f"{event.data}{half}", event.metadata) for half in "ab"]

    rebuilt = rebuild(log, "a", reducers, to_version=1, present=twice)
    assert rebuilt.state["n"] == ["0a", "0b", "1a", "1b"]
    assert (rebuilt.seq, rebuilt.last.aggregate_version) == (2, 1)


# Where the beginning is no longer kept


@pytest.fixture
def short_memory():
    """Aggregate a with ten events, "late" with none, and then so much that the first of them are dropped."""
    clock = ManualClock(START_NS)
    with aresbus.Log(None, memory_bytes=4 << 20, clock=clock) as log:
        fill(log, clock)
        yield log, clock


def drown(log):
    for n in range(1_500):
        log.append("noise", [n, "x" * 10_000])
    assert log.first_seq > 20


def test_a_state_without_its_first_events_is_refused(short_memory, reducers):
    log, _ = short_memory
    drown(log)
    for bounds in ({}, {"to_version": 3}, {"to_seq": 4}, {"to_time": START_NS}, {"to_time": 0}):
        with pytest.raises(TruncatedError) as caught:
            rebuild(log, "a", reducers, **bounds)
        assert caught.value.first_seq == log.first_seq
    log.append("happened", 10, aggregate_id="a")
    with pytest.raises(TruncatedError):
        rebuild(log, "a", reducers)
    with pytest.raises(TruncatedError):
        rebuild(log, "a", reducers, to_time=START_NS)


def test_an_aggregate_born_after_what_was_dropped_is_whole(short_memory, reducers):
    log, clock = short_memory
    drown(log)
    clock.advance_ns(SECOND)
    born = log.append("happened", 0, aggregate_id="a-late")
    for bounds, wanted in (({}, [0]), ({"to_seq": born.seq - 1}, []), ({"to_time": START_NS}, [])):
        assert rebuild(log, "a-late", reducers, **bounds).state.get("n", []) == wanted


def test_a_reader_rebuilds_beside_the_writer(tmp_path, log, clock, reducers):
    fill(log, clock, 3)
    with aresbus.open(tmp_path / "log", mode="r") as reader:
        assert numbers(reader, reducers, to_version=1) == [0, 1]
        log.append("happened", 3, aggregate_id="a")
        assert numbers(reader, reducers) == [0, 1, 2, 3]
