"""Aggregates by themselves: what emitting folds and keeps, what a class may say, what is refused."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from aresbus import Aggregate, EncodeError, EventType, applies
from order_support import Order, RefusedError


def types(aggregate):
    return [one.event_type for one in aggregate.pending]


def test_an_event_changes_the_state_at_once_and_is_pending():
    order = Order("order-1")
    order.place(3)
    assert (order.status, order.open_quantity) == ("open", 3)
    assert order.fill(3) == 0
    assert order.status == "done"
    assert types(order) == ["order_placed", "order_filled", "order_done"]
    assert order.version is None
    assert order.id == "order-1"


def test_a_refused_command_emits_nothing():
    order = Order("order-1")
    with pytest.raises(RefusedError):
        order.fill(1)
    assert order.pending == ()


class Ledger(Aggregate):
    """Keeps the very objects that events carry."""

    def __init__(self, aggregate_id):
        super().__init__(aggregate_id)
        self.rows = []
        self.times = []

    @applies("booked")
    def on_booked(self, event):
        self.rows.append(event.data)
        self.rows[0].setdefault("touched", 0)
        self.rows[0]["touched"] += 1
        self.times.append(event.metadata.timestamp)


def test_a_new_event_is_seen_as_it_will_be_read_and_kept_as_it_was_given():
    ledger, given = Ledger("l"), {"amount": Decimal("1.50"), "at": (1, 2)}
    ledger.emit("booked", given)
    given["amount"] = "changed after"
    ledger.emit("booked", {"n": 2})
    assert ledger.rows[0] == {"amount": "1.50", "at": [1, 2], "touched": 2}
    assert [one.data for one in ledger.pending] == [{"amount": Decimal("1.50"), "at": (1, 2)}, {"n": 2}]


def test_the_time_is_given_or_the_wall_clock():
    ledger = Ledger("l")
    before = datetime.now(UTC)
    ledger.emit("booked", {})
    ledger.emit("booked", {}, event_time_ns=1_700_000_000_000_000_000)
    assert before <= ledger.times[0] <= datetime.now(UTC)
    assert ledger.times[1] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize("data", [object(), {"x": {1, 2}}, b"bytes", bytearray(b"x"), {1: 2}, 2**70])
def test_data_without_json_form_is_refused_and_changes_nothing(data):
    ledger = Ledger("l")
    with pytest.raises(EncodeError):
        ledger.emit("booked", data)
    assert (ledger.pending, ledger.rows) == ((), [])


def test_a_type_that_no_method_applies_is_refused():
    order = Order("order-1")
    with pytest.raises(
        TypeError, match=r"'order_plcaed'.*order_cancelled, order_done, order_filled, order_placed"
    ):
        order.emit("order_plcaed", {})
    assert order.pending == ()


def test_an_event_whose_method_raises_is_not_pending():
    class Broken(Aggregate):
        @applies("a")
        def on_a(self, event):
            raise ZeroDivisionError

    broken = Broken("b")
    with pytest.raises(ZeroDivisionError):
        broken.emit("a", 1)
    assert broken.pending == ()


def test_a_subclass_inherits_overrides_and_adds():
    class Strict(Order):
        def on_filled(self, event):  # the method, by its name; what it applies is inherited
            super().on_filled(event)
            self.checked = True

        @applies(EventType.RISK_ALERT)
        def on_risk(self, event):
            self.status = "risky"

    strict = Strict("s")
    strict.place(2)
    strict.fill(1)
    strict.emit("risk_alert", {})
    assert (strict.checked, strict.status, strict.open_quantity) == (True, "risky", 1)
    assert "risk_alert" not in Order._appliers


def test_a_subclass_may_give_a_type_to_another_method():
    class Other(Order):
        @applies("order_filled")
        def on_any_fill(self, event):
            self.fills.append("other")

    other = Other("o")
    other.place(1)
    other.fill(1)
    assert other.fills == ["other"]


def test_two_methods_of_a_class_for_one_type_are_refused():
    with pytest.raises(TypeError, match="both one and two apply a"):

        class Twice(Aggregate):
            @applies("a")
            def one(self, event): ...

            @applies("b", "a")
            def two(self, event): ...


def test_applies_needs_types_and_a_plain_method():
    with pytest.raises(TypeError, match="one event type or more"):
        applies()
    with pytest.raises(TypeError, match="one event type or more"):
        applies(lambda self, event: None)  # the decorator without its call

    async def on_a(self, event):
        await asyncio.sleep(0)

    with pytest.raises(TypeError, match="async"):
        applies("a")(on_a)


@pytest.mark.parametrize(("aggregate_id", "error"), [("", ValueError), (None, TypeError), (7, TypeError)])
def test_an_id_is_text(aggregate_id, error):
    with pytest.raises(error, match="id"):
        Order(aggregate_id)


def test_the_state_is_every_public_attribute():
    order = Order("order-1")
    order.place(3)
    assert order.state() == {"status": "open", "open_quantity": 3, "fills": []}
    twin = Order("order-1")
    twin.restore(order.state())
    assert twin.state() == order.state()
