"""Filters and directions of `Log.read` and `Log.follow`: what matches, what comes first, what is refused."""

import itertools

import pytest
from aresbus import _core, errors
from hypothesis import given, settings, strategies as st

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


@pytest.fixture
def log():
    with _core.Log(None, clock=_core.ManualClock(START)) as log:
        yield log


@pytest.fixture
def orders(log):
    """Six events that differ in everything a filter can ask for."""
    log.append("order_placed", 0, source="desk", correlation_id="talk", tags={"venue": "x", "desk": "a"})
    log.append("order_filled", 1, source="desk", correlation_id="talk", tags={"venue": "y"}, aggregate_id="o")
    log.append("orders", 2, source="feed", tags={"venue": "x"})
    log.append("trade", 3, correlation_id="018f3c9e-1111-7abc-8def-0123456789ab")
    log.append("order_*", 4, source="desk", aggregate_id="o")
    log.append("trade", 5, tags={"venue": ""})
    return log


def seqs(events):
    return [event.seq for event in events]


FILTERS = [
    ({"types": "order_*"}, [0, 1, 4]),
    ({"types": "order*"}, [0, 1, 2, 4]),
    ({"types": "*"}, [0, 1, 2, 3, 4, 5]),
    ({"types": ["orders", "tr*"]}, [2, 3, 5]),
    ({"types": "order_**"}, [4]),
    ({"types": "or*er"}, []),
    ({"correlation_id": "talk"}, [0, 1]),
    ({"correlation_id": "018f3c9e-1111-7abc-8def-0123456789ab"}, [3]),
    ({"correlation_id": "nobody's"}, []),
    ({"source": "desk"}, [0, 1, 4]),
    ({"source": ""}, [3, 5]),
    ({"tags": {"venue": "x"}}, [0, 2]),
    ({"tags": {"venue": "x", "desk": "a"}}, [0]),
    ({"tags": {"venue": ""}}, [5]),
    ({"tags": {"none": ""}}, []),
    ({"tags": {}}, [0, 1, 2, 3, 4, 5]),
    ({"tags": None, "source": None, "correlation_id": None}, [0, 1, 2, 3, 4, 5]),
    ({"source": "desk", "types": "order_*", "tags": {"venue": "y"}, "correlation_id": "talk"}, [1]),
    ({"aggregate_id": "o", "source": "desk", "types": "order_f*"}, [1]),
]


@pytest.mark.parametrize(("arguments", "expected"), FILTERS, ids=str)
def test_only_what_matches_comes_in_either_direction(orders, arguments, expected):
    assert seqs(orders.read(**arguments)) == expected
    assert seqs(orders.read(**arguments, direction="backward")) == expected[::-1]


@pytest.mark.parametrize(("arguments", "expected"), FILTERS, ids=str)
def test_following_takes_the_same_filters(orders, arguments, expected):
    assert seqs(orders.follow(**arguments, timeout=0)) == expected


def test_an_event_that_comes_later_is_filtered_too(orders):
    events = orders.follow(5, types="order_*", tags={"desk": "b"}, timeout=5)
    orders.append("order_placed", 6, tags={"desk": "a"})
    orders.append("order_placed", 7, tags={"desk": "b"})
    assert next(events).seq == 7


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"direction": "up"}, errors.ConfigError, "backward"),
        ({"direction": None}, TypeError, None),
        ({"tags": [("a", "b")]}, TypeError, "mapping of text to text"),
        ({"tags": {"a": 1}}, TypeError, "text to text"),
        ({"tags": "a=b"}, TypeError, "mapping"),
        ({"source": 5}, TypeError, None),
        ({"correlation_id": b"x"}, TypeError, None),
        ({"source": "\ud800"}, ValueError, None),
        ({"tags": {"\ud800": ""}}, ValueError, None),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(orders, arguments, kind, says):
    with pytest.raises(kind, match=says):
        orders.read(**arguments)


def test_following_has_no_direction(orders):
    with pytest.raises(TypeError):
        orders.follow(direction="backward")


class TestBackward:
    """direction="backward": the newest event first."""

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({}, [5, 4, 3, 2, 1, 0]),
            ({"limit": 2}, [5, 4]),
            ({"limit": 0}, []),
            ({"after": 3}, [5, 4]),
            ({"up_to": 1}, [1, 0]),
            ({"after": 1, "up_to": 3}, [3, 2]),
            ({"after": 0, "up_to": 4, "limit": 1}, [4]),
            ({"after": 4, "up_to": 2}, []),
            ({"after": 5}, []),
            ({"after": 2**63}, []),
            ({"up_to": 2**64 - 1}, [5, 4, 3, 2, 1, 0]),
            ({"aggregate_id": "o"}, [4, 1]),
            ({"aggregate_id": "o", "up_to": 3}, [1]),
            ({"aggregate_id": "nobody"}, []),
            ({"durable": True, "limit": 1}, [5]),
        ],
        ids=str,
    )
    def test_positions_mean_what_they_mean_forward(self, orders, arguments, expected):
        assert seqs(orders.read(**arguments, direction="backward")) == expected

    def test_an_empty_log_has_nothing(self, log):
        events = log.read(direction="backward")
        assert events.position == 0
        assert list(events) == []

    def test_what_comes_after_the_call_is_not_part_of_it(self, log):
        log.append("t", 0)
        events = log.read(direction="backward")
        log.append("t", 1)
        assert seqs(events) == [0]

    def test_the_position_says_where_to_go_on(self, log):
        log.append_many([("wanted" if at % 100 == 50 else "other", at) for at in range(1000)])
        events = log.read(types="wanted", direction="backward")
        assert events.position == 1000
        assert seqs(itertools.islice(events, 3)) == [950, 850, 750]
        assert 650 < events.position <= 750
        rest = log.read(up_to=events.position - 1, types="wanted", direction="backward")
        assert seqs(rest) == seqs(events) == [650, 550, 450, 350, 250, 150, 50]
        assert rest.position == events.position == 0

    def test_a_reader_of_another_handle_sees_the_newest(self, tmp_path):
        with _core.Log(tmp_path / "log") as writer:
            writer.append("t", 0)
            with _core.Log(tmp_path / "log", mode="r") as reader:
                for at in range(1, 200):
                    writer.append("t", at)
                    assert seqs(reader.read(limit=2, direction="backward")) == [at, at - 1]

    def test_dropped_events_are_the_end_or_an_error(self):
        with _core.Log(None, memory_bytes=1 << 19, segment_bytes=1 << 16) as log:
            while log.first_seq == 0:
                log.append("t", "x" * 1000)
            assert seqs(log.read(direction="backward")) == seqs(log.read())[::-1]
            with pytest.raises(errors.TruncatedError):
                log.read(after=0, direction="backward")

    def test_closing_the_log_ends_it_with_an_error(self, orders):
        events = orders.read(direction="backward")
        next(events)
        orders.close()
        with pytest.raises(errors.LogClosedError):
            next(events)
        with pytest.raises(errors.LogClosedError):
            orders.read(direction="backward")


texts = st.sampled_from(["", "a", "ab", "abc", "b", "a*"])
tag_sets = st.dictionaries(st.sampled_from("kl"), st.sampled_from("vw"), max_size=2)
offers = st.fixed_dictionaries(
    {
        "event_type": texts.filter(bool),
        "source": texts,
        "aggregate_id": st.none() | texts,
        "correlation_id": st.none() | texts,
        "tags": tag_sets,
        "event_time_ns": st.none() | st.integers(START, START + 5),
    }
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "after": st.integers(0, 200),
        "up_to": st.integers(0, 200),
        "since": st.integers(START, START + 6),
        "until": st.integers(START, START + 6),
        "time": st.sampled_from(["append", "event"]),
        "limit": st.integers(0, 9),
        "types": st.lists(st.sampled_from(["a", "ab", "a*", "*", "b*", "abc*"]), max_size=2),
        "aggregate_id": texts,
        "correlation_id": texts,
        "source": texts,
        "tags": tag_sets,
    },
)


def matches(query, event):
    """What a query means, said once more and simply."""
    time = event.ts_ns if query.get("time") != "event" or event.event_time_ns is None else event.event_time_ns
    types = query.get("types")
    return (
        query.get("after", -1) < event.seq <= query.get("up_to", event.seq)
        and query.get("since", time) <= time < query.get("until", time + 1)
        and (
            types is None
            or any(str(event.event_type).startswith(one[:-1]) for one in types if one.endswith("*"))
            or str(event.event_type) in types
        )
        and all(getattr(event, name) == query[name] for name in IDS if name in query)
        and query.get("tags", {}).items() <= event.tags.items()
    )


IDS = ("aggregate_id", "correlation_id", "source")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(offers, min_size=1, max_size=60), max_size=4), st.lists(queries, max_size=8))
def test_both_directions_agree_with_filtering_by_hand(batches, asked):
    clock = _core.ManualClock(START)
    with _core.Log(None, clock=clock) as log:
        for batch in batches:
            log.append_many([{**one, "data": None} for one in batch])
            clock.advance_ns(1)
        stored = list(log.read())
        for query in asked:
            wanted = [event.seq for event in stored if matches(query, event)]
            limit = query.get("limit")
            assert seqs(log.read(**query)) == wanted[:limit], query
            assert seqs(log.read(**query, direction="backward")) == wanted[::-1][:limit], query


def test_an_aggregate_larger_than_what_a_read_keeps_of_it_comes_whole(log):
    # It is met from its newest event back, and some MiB of that are kept; what came before them is fetched once more.
    expected = []
    for number in range(120):
        seq = log.append_bytes("filled", bytes([number]) * 50_000, aggregate_id="o").seq
        expected.append((seq, number, bytes([number]) * 50_000))
        log.append_many([("tick", None)] * 70)
    for arguments, part in (
        ({}, slice(None)),
        ({"after": expected[9][0], "up_to": expected[99][0]}, slice(10, 100)),
    ):
        read = log.read(aggregate_id="o", **arguments)
        assert [(event.seq, event.aggregate_version, event.raw) for event in read] == expected[part]
