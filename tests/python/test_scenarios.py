"""given, when, then: what passes, what fails, and that the message of a failing one shows the difference."""

from decimal import Decimal

import pytest
from aresbus import Aggregate, Event, EventMetadata, EventVersionManager, Reducers, applies
from aresbus.testing import given
from order_support import Order, RefusedError

PLACED = ("order_placed", {"quantity": 3})
FILLED = ("order_filled", {"quantity": 3})


# Aggregates


def test_a_decision_is_told_by_its_events():
    outcome = given(PLACED, of=Order).when(Order.fill, 3).then(FILLED, ("order_done", {}))
    outcome.then_state(status="done", open_quantity=0).then_state(
        {"status": "done", "open_quantity": 0, "fills": [{"quantity": 3}]}
    )


def test_nothing_may_be_expected():
    given(PLACED, ("order_cancelled", None), of=Order).when(Order.cancel).then()


def test_a_refusal_is_told_by_its_error():
    given(PLACED, of=Order).when(Order.fill, quantity=4).then_raises(RefusedError, match="only 3 open")


def test_a_command_may_be_any_function_of_the_aggregate():
    given(of=Order).when(lambda order: order.place(2)).then(("order_placed", {"quantity": 2}))


def test_the_past_alone_has_a_state():
    given(PLACED, of=Order).then_state(status="open")


def test_the_same_past_serves_many_times():
    past = given(PLACED, of=Order)
    for _ in range(2):
        past.when(Order.fill, 1).then(("order_filled", {"quantity": 1}))
    past.then_state(open_quantity=3)


def test_the_aggregate_has_a_version_and_an_id():
    seen = []
    given(PLACED, FILLED, of=Order, aggregate_id="order-7").when(
        lambda order: seen.append((order.id, order.version))
    )
    given(of=Order).when(lambda order: seen.append(order.version))
    assert seen == [("order-7", 1), None]


def test_what_is_compared_is_what_would_be_stored():
    class Money(Aggregate):
        @applies("paid")
        def on_paid(self, event):
            self.amount = event.data

    given(of=Money).when(lambda money: money.emit("paid", Decimal("1.50"))).then(("paid", "1.50")).then_state(
        amount="1.50"
    )


def test_of_an_event_the_tags_are_compared_too():
    outcome = given(PLACED, of=Order).when(Order.cancel)
    outcome.then(("order_cancelled", None))
    outcome.then(Event("order_cancelled", None, EventMetadata(tags={"by": "hand"})))
    with pytest.raises(AssertionError, match="nobody"):
        outcome.then(Event("order_cancelled", None, EventMetadata(tags={"by": "nobody"})))


# Functions over a state


def test_a_reducer_and_a_function_that_returns_events():
    def total(state, event):
        return {"total": state.get("total", 0) + event.data["quantity"]}

    def decide(state, limit):
        return [("limit_reached", {"total": state["total"]})] if state["total"] >= limit else None

    past = given(PLACED, FILLED, of=total)
    past.then_state({"total": 6})
    past.when(decide, 6).then(("limit_reached", {"total": 6}))
    past.when(decide, 7).then()
    past.when(lambda state: ("one", state["total"])).then(("one", 6))


def test_reducers_by_category():
    reducers = Reducers()
    reducers.register(None, lambda state, event: {"last": event.data}, category="order")
    given(PLACED, FILLED, of=reducers, aggregate_id="order-1").then_state(last={"quantity": 3})
    given(PLACED, of=reducers, aggregate_id="position-1").then_state({})


def test_a_presentation_comes_first():
    def halves(event):
        return [Event(event.event_type, {"quantity": 1}, event.metadata)] * 2

    given(PLACED, FILLED, of=Order, present=halves).then_state(open_quantity=-1)


# Upcasters


def test_an_upcaster_is_called_with_each_event():
    manager = EventVersionManager()
    trade = {"symbol": "BTC", "side": "buy", "quantity": 1, "price": 2}
    given(("trade_executed", trade)).when(manager.migrate_event, "1.1.0").then(
        Event("trade_executed", {**trade, "order_id": None}, EventMetadata(schema_version="1.1.0"))
    )
    with pytest.raises(AssertionError, match=r'-.*"schema_version": "9\.9\.9"'):
        given(("trade_executed", trade)).when(manager.migrate_event, "1.1.0").then(
            Event("trade_executed", {**trade, "order_id": None}, EventMetadata(schema_version="9.9.9"))
        )


def test_an_upcaster_may_split():
    def split(event):
        return [("part", one) for one in event.data]

    given(("whole", [1, 2]), ("whole", [])).when(split).then(("part", 1), ("part", 2))


# When it fails


def message(act):
    with pytest.raises(AssertionError) as caught:
        act()
    return str(caught.value)


def test_a_difference_is_shown_line_by_line():
    outcome = given(PLACED, of=Order).when(Order.fill, 1)
    text = message(lambda: outcome.then(("order_filled", {"quantity": 2})))
    lines = text.splitlines()
    assert lines[0] == "the events decided are not those expected:"
    assert '-      "quantity": 2' in lines
    assert '+      "quantity": 1' in lines
    assert '     "type": "order_filled"' in lines


def test_events_too_many_and_too_few_are_shown():
    outcome = given(PLACED, of=Order).when(Order.fill, 3)
    assert '+    "type": "order_done"' in message(lambda: outcome.then(FILLED))
    assert '-    "type": "more"' in message(lambda: outcome.then(FILLED, ("order_done", {}), ("more", 1)))
    assert '"order_filled"' in message(outcome.then)


def test_an_order_that_differs_fails():
    outcome = given(PLACED, of=Order).when(Order.fill, 3)
    message(lambda: outcome.then(("order_done", {}), FILLED))


def test_an_error_where_events_were_expected_is_the_cause():
    outcome = given(of=Order).when(Order.fill, 1)
    with pytest.raises(AssertionError, match="the command raised RefusedError") as caught:
        outcome.then(FILLED)
    assert isinstance(caught.value.__cause__, RefusedError)
    message(lambda: outcome.then_state(status="new"))


def test_events_or_another_error_where_one_was_expected():
    refused = given(of=Order).when(Order.fill, 1)
    assert "KeyError was expected, got RefusedError" in message(lambda: refused.then_raises(KeyError))
    assert "nothing like 'tired'" in message(lambda: refused.then_raises(RefusedError, match="tired"))
    placed = given(of=Order).when(Order.place, 1)
    assert '"order_placed"' in message(lambda: placed.then_raises(RefusedError))


def test_a_state_that_differs_is_shown():
    past = given(PLACED, of=Order)
    text = message(lambda: past.then_state(status="done"))
    assert '-  "status": "done"' in text
    assert '+  "status": "open"' in text
    assert '-  "nothing": 1' in message(lambda: past.then_state(nothing=1))
    assert '+  "fills": []' in message(lambda: past.then_state({"status": "open"}))


@pytest.mark.parametrize("event", ["order_placed", ("a",), ("a", 1, 2), (1, "a"), None, {"a": 1}])
def test_what_is_no_event_is_refused(event):
    with pytest.raises(TypeError, match="its type and data"):
        given(event, of=Order)


def test_a_state_without_a_fold_is_refused():
    with pytest.raises(TypeError, match="of="):
        given(PLACED).then_state(status="open")
