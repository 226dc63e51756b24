"""Reducers: which one folds an event, what registering refuses, and what makes snapshots worthless."""

import asyncio

import aresbus
import pytest
from aresbus import Event, EventMetadata, Reducers, category_of


def events(*pairs, aggregate_id="order-1"):
    return [Event(text, data, EventMetadata(aggregate_id=aggregate_id)) for text, data in pairs]


def naming(name):
    """A reducer that notes that it was the one."""

    def reducer(state, event):
        state.setdefault("by", []).append(name)

    return reducer


def folded_by(reducers, text="filled", aggregate_id="order-1"):
    return reducers.fold(aggregate_id, {}, events((text, 1), aggregate_id=aggregate_id)).state.get("by")


@pytest.mark.parametrize(
    ("aggregate_id", "category"),
    [
        ("order-17", "order"),
        ("order:17", "order"),
        ("order:EU-4", "order"),
        ("order-EU:4", "order"),
        ("BTCUSDT", "BTCUSDT"),
        ("", ""),
        ("-x", ""),
        ("a_b.c-d", "a_b.c"),
    ],
)
def test_the_category_is_the_text_before_the_first_colon_or_hyphen(aggregate_id, category):
    assert category_of(aggregate_id) == category


def test_the_most_telling_reducer_folds_the_event_alone():
    reducers = Reducers()
    assert folded_by(reducers) is None
    reducers.register("filled", naming("type"))
    assert folded_by(reducers) == ["type"]
    reducers.register(None, naming("category"), category="order")
    assert folded_by(reducers) == ["category"]
    assert folded_by(reducers, "anything else") == ["category"]
    reducers.register("filled", naming("both"), category="order")
    assert folded_by(reducers) == ["both"]
    assert folded_by(reducers, "anything else") == ["category"]
    assert folded_by(reducers, aggregate_id="position-1") == ["type"]
    assert folded_by(reducers, "anything else", "position-1") is None


def test_a_category_hides_the_built_in_reducers_too():
    reducers = Reducers()
    trade = events(("trade_executed", {"n": 1}))
    assert reducers.fold("order-1", {}, trade).state == {"trades": [{"n": 1}]}
    reducers.register(None, naming("category"), category="order")
    assert reducers.fold("order-1", {}, trade).state == {"by": ["category"]}


def test_registering_again_replaces():
    reducers = Reducers()
    reducers.register("filled", naming("old"))
    reducers.register("filled", naming("new"), 2)
    assert folded_by(reducers) == ["new"]


def test_categories_may_be_cut_by_a_rule_of_ones_own():
    reducers = Reducers(category_of=lambda aggregate_id: aggregate_id[-2:])
    reducers.register(None, naming("eu"), category="EU")
    assert folded_by(reducers, aggregate_id="17.EU") == ["eu"]
    assert folded_by(reducers, aggregate_id="17.US") is None


def test_the_fold_says_where_it_ended_and_whether_anything_was_known():
    reducers = Reducers()
    known, unknown = events(("trade_executed", 1), ("what", 2))
    assert reducers.fold("a", {"x": 1}, []) == ({"x": 1}, None, False)
    assert reducers.fold("a", {}, [unknown]) == ({}, unknown, False)
    state, last, is_known = reducers.fold("a", {}, [known, unknown])
    assert (state, last, is_known) == ({"trades": [1]}, unknown, True)


def test_events_are_presented_before_they_are_folded():
    def split(event):
        return [Event("filled", part, event.metadata) for part in event.data]

    reducers = Reducers()
    reducers.register("filled", lambda state, event: {"sum": state.get("sum", 0) + event.data})
    many, none = events(("filled_many", [1, 2, 3]), ("filled_many", []))
    assert reducers.fold("a", {}, [many, none], split) == ({"sum": 6}, none, True)


def test_the_versions_are_those_of_the_reducers_that_may_fold_the_aggregate():
    reducers = Reducers()
    built_in = reducers.versions_of("order-1")
    assert built_in == {"trade_executed": 1, "performance_update": 1}
    reducers.register("filled", naming("a"), 3)
    assert reducers.versions_of("order-1") == {**built_in, "filled": 3}
    reducers.register("filled", naming("b"), 3, category="order")
    in_category = reducers.versions_of("order-1")
    assert in_category != {**built_in, "filled": 3}
    assert reducers.versions_of("position-1") == {**built_in, "filled": 3}
    reducers.register(None, naming("c"), category="order")
    whole = reducers.versions_of("order-1")
    reducers.register("unrelated", naming("d"))
    assert reducers.versions_of("order-1") == whole
    reducers.register(None, naming("c"), 2, category="order")
    assert reducers.versions_of("order-1") != whole


def test_a_failing_reducer_is_told_with_its_event():
    reducers = Reducers()
    reducers.register("filled", lambda state, event: {"x": 1 / event.data})
    with pytest.raises(ZeroDivisionError) as caught:
        reducers.fold("order-1", {}, events(("filled", 1), ("filled", 0)))
    assert caught.value.__notes__ == ["while folding filled at seq None into order-1"]


def test_a_reducer_that_returns_no_state_is_told():
    reducers = Reducers()
    reducers.register("filled", lambda state, event: state.setdefault("count", 0))
    with pytest.raises(TypeError, match="returned int"):
        reducers.fold("order-1", {}, events(("filled", 1)))


async def an_async_reducer(state, event):
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("event_type", "reducer", "settings", "error"),
    [
        (None, naming("x"), {}, ValueError),
        ("", naming("x"), {}, ValueError),
        ("a", naming("x"), {"category": ""}, ValueError),
        ("a\0b", naming("x"), {}, ValueError),
        ("a", naming("x"), {"category": "order\0"}, ValueError),
        ("a", naming("x"), {"version": 0}, ValueError),
        ("a", None, {}, TypeError),
        ("a", an_async_reducer, {}, TypeError),
    ],
)
def test_registering_refuses_what_could_not_work(event_type, reducer, settings, error):
    reducers = Reducers()
    before = reducers.versions_of("a")
    with pytest.raises(error):
        reducers.register(event_type, reducer, **settings)
    assert reducers.versions_of("a") == before


def test_a_member_of_the_event_types_is_its_text():
    reducers = Reducers()
    reducers.register(aresbus.EventType.RISK_ALERT, naming("member"))
    assert folded_by(reducers, "risk_alert") == ["member"]
    assert folded_by(reducers, aresbus.EventType.RISK_ALERT) == ["member"]
