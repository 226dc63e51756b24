"""The time between two event types: which events make a pair, what has no partner, bounded memory, the report."""

import json
from datetime import UTC, datetime

import aresbus
import pytest
from aresbus import ManualClock, latency, latency_between
from hypothesis import given, settings, strategies as st

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


@pytest.fixture
def clock():
    return ManualClock(START_NS)


@pytest.fixture
def log(clock):
    with aresbus.Log(None, clock=clock) as log:
        yield log


def counts(report):
    return report.count, report.unmatched_first, report.unmatched_second


def test_by_correlation_the_conversation_makes_the_pair(log, clock):
    tick = log.append("tick", 1).event_id
    log.append("tick", 2, correlation_id="other")
    clock.advance_ns(3 * MS)
    log.append("analysis", 1, correlation_id=tick, causation_id=tick)
    log.append("trade", 1, correlation_id=tick, causation_id="the analysis")
    report = latency_between(log, "tick", "trade")
    assert counts(report) == (1, 1, 0)
    assert report.histogram.max_ns == 3 * MS


def test_by_causation_only_the_direct_cause_counts(log, clock):
    tick = log.append("tick", 1).event_id
    clock.advance_ns(1 * MS)
    log.append("trade", 1, correlation_id=tick, causation_id=tick)
    clock.advance_ns(1 * MS)
    log.append("trade", 2, correlation_id=tick, causation_id="another")
    log.append("trade", 3, correlation_id=tick)
    report = latency_between(log, "tick", "trade", by="causation")
    assert counts(report) == (1, 0, 2)
    assert report.percentile(1.0) == 1 * MS


def test_by_aggregate_events_without_one_have_no_partner(log, clock):
    log.append("placed", 1, aggregate_id="order-1")
    log.append("placed", 2)
    clock.advance_ns(5 * MS)
    log.append("filled", 1, aggregate_id="order-1")
    log.append("filled", 2)
    log.append("filled", 3, aggregate_id="order-2")
    assert counts(latency_between(log, "placed", "filled", by="aggregate")) == (1, 1, 2)


def test_each_answer_is_a_pair_with_the_newest_first_before_it(log, clock):
    for event_type, step in (("a", 1), ("a", 2), ("b", 4), ("b", 8), ("a", 0)):
        log.append(event_type, 0, aggregate_id="x")
        clock.advance_ns(step * MS)
    report = latency_between(log, "a", "b", by="aggregate")
    assert counts(report) == (2, 2, 0)
    assert report.histogram.max_ns == 6 * MS


def test_of_one_type_each_event_answers_the_one_before_it(log, clock):
    for _ in range(4):
        log.append("tick", 0, aggregate_id="x")
        clock.advance_ns(10 * MS)
    report = latency_between(log, "tick", "tick", by="aggregate")
    assert counts(report) == (3, 1, 1)
    assert report.percentile(0.5) == 10 * MS


def test_the_range_is_that_of_read(log, clock):
    for n in range(6):
        log.append("a" if n % 2 == 0 else "b", n, correlation_id=f"talk {n // 2}")
        clock.advance_ns(1_000 * MS)

    def pairs(**keywords):
        return counts(latency_between(log, "a", "b", **keywords))

    second = datetime.fromtimestamp(START_NS // 10**9 + 1, UTC)
    assert pairs() == (3, 0, 0)
    assert pairs(after=0) == (2, 0, 1)
    assert pairs(up_to=4) == (2, 1, 0)
    assert pairs(since=second) == (2, 0, 1)
    assert pairs(until=second) == (0, 1, 0)
    assert pairs(since=START_NS + 2_000 * MS, until=START_NS + 4_000 * MS) == (1, 0, 0)
    with pytest.raises(ValueError, match="naive"):
        pairs(since=datetime(2024, 1, 1))  # noqa: DTZ001 - the naive one is the subject


def test_a_clock_that_steps_back_is_counted_and_said(log, clock):
    log.append("a", 0, correlation_id="x")
    clock.set_ns(START_NS - MS)
    log.append("b", 0, correlation_id="x")
    report = latency_between(log, "a", "b")
    assert (report.count, report.backwards, report.histogram.max_ns) == (1, 1, 0)
    assert "1 pairs run backwards" in report.text()


def test_memory_is_bounded_and_what_is_forgotten_is_said(log, monkeypatch):
    monkeypatch.setattr(latency, "WAITING_LIMIT", 3)
    for n in range(5):
        log.append("a", n, correlation_id=f"talk {n}")
    for n in range(5):
        log.append("b", n, correlation_id=f"talk {n}")
    report = latency_between(log, "a", "b")
    assert counts(report) == (3, 2, 2)
    assert report.forgotten == 2
    assert "2 first events were forgotten at the memory limit" in report.text()


def test_an_unknown_way_of_pairing_is_refused(log):
    with pytest.raises(ValueError, match="correlation, causation, aggregate"):
        latency_between(log, "a", "b", by="time")


def test_without_a_pair_there_is_no_percentile(log):
    log.append("a", 0)
    report = latency_between(log, "a", "b")
    assert report.percentile(0.5) is None
    assert report.to_dict()["latency_ns"] == {
        "p50": None,
        "p90": None,
        "p99": None,
        "p99.9": None,
        "max": None,
    }
    assert report.text().splitlines() == [
        "a → b by correlation",
        "0 pairs; without partner 1 first, 0 second",
    ]
    for fraction in (-0.1, 50, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            report.percentile(fraction)


def test_the_text_has_a_bar_for_each_doubling_gaps_included(log, clock):
    for ms in (1, 1, 1, 1, 4):
        log.append("a", 0, correlation_id="x")
        clock.advance_ns(ms * MS)
        log.append("b", 0, correlation_id="x")
    bars = latency_between(log, "a", "b").text().splitlines()[3:]
    assert [line.count("█") for line in bars] == [40, 0, 10]
    assert [line.split()[3] for line in bars] == ["4", "0", "1"]


def test_names_out_of_data_cannot_steer_the_terminal(log):
    text = latency_between(log, "a\x1b[31m", "b\n").text()
    assert len(text.splitlines()) == 2
    assert all(line.isprintable() for line in text.splitlines())


def test_the_dict_is_json_and_its_buckets_hold_every_pair(log, clock):
    for ms in range(1, 30):
        log.append("a", 0, correlation_id="x")
        clock.advance_ns(ms * MS)
        log.append("b", 0, correlation_id="x")
    plain = json.loads(json.dumps(latency_between(log, "a", "b").to_dict()))
    assert sum(count for _, count in plain["buckets"]) == plain["count"] == 29
    assert plain["buckets"] == sorted(plain["buckets"])
    assert plain["latency_ns"]["max"] == 29 * MS
    assert 15 * MS <= plain["latency_ns"]["p50"] <= 15 * MS * 1.125


EVENTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.none() | st.sampled_from("xy"), st.integers(-2, 5)), max_size=30
)


@settings(deadline=None)
@given(EVENTS)
def test_the_pairs_are_those_of_a_plain_search(events):
    clock, took, unmatched_second, answered = ManualClock(START_NS), [], 0, set()
    with aresbus.Log(None, clock=clock) as log:
        stored = []
        for event_type, key, step in events:
            log.append(event_type, 0, aggregate_id=key)
            stored.append((event_type, key, clock.time_ns()))
            clock.advance_ns(max(step, 0)) if step >= 0 else clock.set_ns(clock.time_ns() + step)
        report = latency_between(log, "a", "b", by="aggregate")
    for at, (event_type, key, ns) in enumerate(stored):
        if event_type == "b":
            before = [i for i in range(at) if stored[i][:2] == ("a", key) and key is not None]
            if before:
                took.append(ns - stored[before[-1]][2])
                answered.add(before[-1])
            else:
                unmatched_second += 1
    firsts = sum(event_type == "a" for event_type, *_ in stored)
    assert counts(report) == (len(took), firsts - len(answered), unmatched_second)
    assert report.backwards == sum(ns < 0 for ns in took)
    assert report.histogram.max_ns == max([0, *took])
