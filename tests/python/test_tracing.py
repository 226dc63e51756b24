"""The tree of a conversation: causes, hop times, roots of every kind, hostile ids, long chains."""

import json
import sys

import aresbus
import pytest
from aresbus import ManualClock, trace
from aresbus.testing import InMemoryBus
from bus_support import run
from hypothesis import given, settings, strategies as st

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
RECENT_EVENTS = 65_536


@pytest.fixture
def clock():
    return ManualClock(START_NS)


@pytest.fixture
def log(clock):
    with aresbus.Log(None, clock=clock) as log:
        yield log


def say(log, event_id, cause=None, *, talk="talk", event_type="note", **keywords):
    log.append(event_type, 0, event_id=event_id, correlation_id=talk, causation_id=cause, **keywords)


def shape(nodes):
    """The tree as nested pairs of event id and children."""
    return [(node.event.event_id, shape(node.children)) for node in nodes]


def test_the_tree_follows_the_causes_and_knows_each_hop(log, clock):
    say(log, "a")
    clock.advance_ns(2 * MS)
    say(log, "b", "a")
    say(log, "elsewhere", talk="other")
    clock.advance_ns(3 * MS)
    say(log, "c", "b")
    say(log, "d", "a")
    found = trace(log, "talk")
    assert shape(found.roots) == [("a", [("b", [("c", [])]), ("d", [])])]
    assert [(node.event.event_id, node.hop_ns, node.depth) for node in found.walk()] == [
        ("a", None, 0),
        ("b", 2 * MS, 1),
        ("c", 3 * MS, 2),
        ("d", 5 * MS, 1),
    ]
    assert (len(found), found.begun_ns, found.total_ns) == (4, START_NS, 5 * MS)
    assert [node.origin for node in found.walk()] == ["begun", "caused", "caused", "caused"]


def test_the_event_that_began_a_conversation_unnamed_is_its_root():
    async def act():
        bus = InMemoryBus()
        bus.subscribe("risk_alert", lambda event: bus.publish("system_error", {}).close())
        first = await bus.publish("risk_alert", {})
        await bus.publish("risk_alert", {})
        await bus.settled()
        (root,) = trace(bus.log, first).roots
        assert root.event.event_id == first
        assert [node.event.event_type for node in root.children] == ["system_error"]

    run(act())


def test_an_event_that_named_another_conversation_does_not_begin_its_own(log):
    say(log, "a", talk="x")
    say(log, "b", "a", talk="a")
    assert shape(trace(log, "a").roots) == [("b", [])]
    assert shape(trace(log, "x").roots) == [("a", [])]


def test_a_cause_outside_of_the_conversation_makes_a_marked_root(log):
    say(log, "elsewhere", talk="other")
    say(log, "a", "elsewhere")
    say(log, "b", "never stored")
    say(log, "c", "b")
    found = trace(log, "talk")
    assert shape(found.roots) == [("a", []), ("b", [("c", [])])]
    assert [node.origin for node in found.roots] == ["outside", "outside"]
    assert "caused by elsewhere, which is no event of this conversation" in found.text()


def test_an_event_that_names_itself_is_a_root_and_says_so(log):
    say(log, "a", "a")
    say(log, "b", "a")
    found = trace(log, "talk")
    assert shape(found.roots) == [("a", [("b", [])])]
    assert found.roots[0].origin == "later"
    assert "names as its cause itself" in found.text()


def test_a_cycle_is_cut_where_the_cause_stands_later(log):
    for event_id, cause in (("a", "c"), ("b", "a"), ("c", "b")):
        say(log, event_id, cause)
    found = trace(log, "talk")
    assert shape(found.roots) == [("a", [("b", [("c", [])])])]
    assert found.roots[0].origin == "later"
    assert "c, which stands behind it" in found.text()


def test_events_that_share_an_id_all_stand_and_the_nearest_before_is_the_cause(log):
    # The log refuses the second; one that knew no such rule may have written it, as here where the first is out of its sight.
    log.append("note", 0, event_id="same", correlation_id="talk")
    say(log, "a", "same")
    for first in range(0, RECENT_EVENTS, 1_000):
        log.append_many([("filler", n) for n in range(first, first + 1_000)])
    log.append("other", 1, event_id="same", correlation_id="talk")
    say(log, "b", "same")
    found = trace(log, "talk")
    assert shape(found.roots) == [("same", [("a", [])]), ("same", [("b", [])])]


def test_a_clock_that_steps_back_gives_negative_hops_and_a_whole_span(log, clock):
    say(log, "a")
    clock.set_ns(START_NS - 4 * MS)
    say(log, "b", "a")
    found = trace(log, "talk")
    assert found.roots[0].children[0].hop_ns == -4 * MS
    assert (found.begun_ns, found.total_ns) == (START_NS - 4 * MS, 4 * MS)
    assert "-4.0 ms" in found.text()


def test_an_unknown_conversation_is_empty_and_false(log):
    say(log, "a")
    found = trace(log, "nobody's")
    assert not found
    assert found.roots == []
    assert found.text() == "nobody's: 0 events"
    assert found.to_dict()["events"] == []


def test_only_text_names_a_conversation(log):
    with pytest.raises(TypeError, match="text"):
        trace(log, None)


def test_a_closed_log_has_no_trace(log):
    log.close()
    with pytest.raises(aresbus.LogClosedError):
        trace(log, "talk")


def test_the_text_is_a_tree(log, clock):
    log.append("tick", 0, event_id="t", source="feed", aggregate_id="BTCUSDT")
    clock.advance_ns(1_500)
    say(log, "a", "t", talk="t", event_type="analysis", source="analyst")
    clock.advance_ns(20 * MS)
    say(log, "b", "a", talk="t", event_type="trade")
    say(log, "c", "t", talk="t", event_type="risk_alert")
    clock.advance_ns(1 * MS)
    say(log, "d", talk="t", event_type="late")
    assert trace(log, "t").text().splitlines() == [
        "t: 5 events in 21.0 ms from 2023-11-14T22:13:20.000000000Z",
        "begin  tick  seq 0  feed  BTCUSDT@0",
        "├─ +1.5 µs  analysis  seq 1  analyst",
        "│  └─ +20.0 ms  trade  seq 2",
        "└─ +20.0 ms  risk_alert  seq 3",
        "21.0 ms in  late  seq 4",
    ]


def test_no_control_character_reaches_the_terminal(log):
    say(log, "a\x1b[31m", "\x07", event_type="no\nte", talk="t\x1b", source="\u202e")
    text = trace(log, "t\x1b").text()
    assert len(text.splitlines()) == 2
    assert all(line.isprintable() for line in text.splitlines())


def test_the_dict_is_json_and_its_seqs_make_the_tree(log):
    for event_id, cause in (("a", None), ("b", "a"), ("c", "b"), ("d", "nowhere")):
        say(log, event_id, cause)
    plain = json.loads(json.dumps(trace(log, "talk").to_dict()))
    assert plain["roots"] == [0, 3]
    assert [(one["seq"], one["cause_seq"], one["origin"]) for one in plain["events"]] == [
        (0, None, "begun"),
        (1, 0, "caused"),
        (2, 1, "caused"),
        (3, None, "outside"),
    ]


def test_a_long_chain_recurses_nowhere_and_its_text_stays_linear(log):
    length = 10 * sys.getrecursionlimit()
    for n in range(length):
        say(log, f"e{n}", f"e{n - 1}" if n else None)
    found = trace(log, "talk")
    assert [node.depth for node in found.walk()] == list(range(length))
    lines = found.text().splitlines()
    assert len(lines) == length + 1
    assert max(map(len, lines)) < 120
    assert lines[-1].startswith(f"[{length - 1}] └─ ")
    json.dumps(found.to_dict())


def test_a_wide_fan_keeps_the_order_of_the_log(log):
    say(log, "root")
    for n in range(5_000):
        say(log, f"e{n}", "root")
    (root,) = trace(log, "talk").roots
    assert [node.event.seq for node in root.children] == list(range(1, 5_001))


def test_events_that_expired_leave_roots_outside():
    with aresbus.Log(None, segment_bytes=64 * 1024, memory_bytes=4 * 64 * 1024) as log:
        say(log, "first")
        while log.first_seq == 0:
            log.append("filler", "x" * 1_000)
        say(log, "second", "first")
        (root,) = trace(log, "talk").roots
        assert (root.event.event_id, root.origin) == ("second", "outside")


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.none() | st.integers(0, 11)), max_size=12))
def test_whatever_the_causes_each_event_stands_once_and_under_its_cause(events):
    with aresbus.Log(None) as log:
        stored = {}
        for number, cause in events:
            if number not in stored:
                say(log, f"e{number}", None if cause is None else f"e{cause}")
                stored[number] = cause
        found = trace(log, "talk")
        order = list(stored)
        nodes = list(found.walk())
        assert sorted(node.event.seq for node in nodes) == list(range(len(order)))
        for node in nodes:
            cause = stored[order[node.event.seq]]
            at = order.index(cause) if cause in stored else None
            if cause is None:
                expected = "begun"
            elif at is None:
                expected = "outside"
            else:
                expected = "caused" if at < node.event.seq else "later"
            assert node.origin == expected
            assert node.cause_seq == (at if expected == "caused" else None)
            assert all(child.cause_seq == node.event.seq for child in node.children)
        assert len(found.text().splitlines()) == len(nodes) + 1
