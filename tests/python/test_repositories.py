"""Repositories on a log: what is loaded, what is saved and when not, conflicts, snapshots, several aggregates at once."""

import logging
import threading
from decimal import Decimal

import aresbus
import pytest
from aresbus import (
    Aggregate,
    Event,
    Repository,
    TruncatedError,
    VersionConflictError,
    applies,
    retry_on_conflict,
)
from order_support import Order, RefusedError
from snapshot_support import read_snapshots


@pytest.fixture
def log(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        yield log


@pytest.fixture
def orders(log):
    return Repository(log, Order)


def stored(log, **filters):
    return [(event.event_type, event.aggregate_id, event.aggregate_version) for event in log.read(**filters)]


def filled(orders, count, aggregate_id="order-1"):
    orders.execute(aggregate_id, lambda order: order.place(1_000))
    for _ in range(count):
        orders.execute(aggregate_id, lambda order: order.fill(1))


# Loading and saving


def test_what_is_saved_is_what_is_loaded(log, orders):
    order = orders.load("order-1")
    assert order.version is None
    order.place(3)
    order.fill(1)
    order.cancel()
    receipts = orders.save(order, source="desk", correlation_id="c", causation_id="d")
    assert [receipt.aggregate_version for receipt in receipts] == [0, 1, 2]
    assert (order.version, order.pending) == (2, ())
    again = orders.load("order-1")
    assert again.state() == order.state()
    assert again.version == 2
    events = list(log.read())
    assert {(event.source, event.correlation_id, event.causation_id) for event in events} == {
        ("desk", "c", "d")
    }
    assert events[2].tags == {"by": "hand"}
    assert orders.save(order) == []


def test_ids_times_and_versions_are_those_decided(log, orders):
    order = orders.load("order-1")
    order.emit(
        "order_placed", {"quantity": 1}, event_time_ns=1_700_000_000_000_000_000, schema_version="1.2.0"
    )
    (pending,) = order.pending
    (receipt,) = orders.save(order)
    (event,) = log.read()
    assert receipt.event_id == event.event_id == pending.event_id
    assert event.event_time_ns == 1_700_000_000_000_000_000
    assert event.schema_version == "1.2.0"


def test_what_a_method_sees_of_a_time_is_the_same_ever_after(orders):
    class Timed(Order):
        @applies("order_placed")
        def on_placed(self, event):
            self.placed_at = event.metadata.timestamp.isoformat()

    timed = Repository(orders._log, Timed)
    fresh = timed.execute("order-1", lambda order: order.place(1)).aggregate
    assert timed.load("order-1").placed_at == fresh.placed_at


def test_decimals_are_stored_as_the_log_stores_them(log):
    class Money(Aggregate):
        @applies("paid")
        def on_paid(self, event):
            self.last = event.data

    money = Repository(log, Money)
    fresh = money.execute("m", lambda one: one.emit("paid", {"amount": Decimal("0.10")})).aggregate
    assert fresh.last == money.load("m").last == {"amount": "0.10"}


def test_an_aggregate_is_loaded_as_it_was(orders):
    filled(orders, 3)
    assert orders.load("order-1", to_version=0).open_quantity == 1_000
    assert orders.load("order-1", to_seq=2).open_quantity == 998
    past = orders.load("order-1", to_version=1)
    past.fill(1)
    with pytest.raises(VersionConflictError):
        orders.save(past)


def test_stored_types_that_no_method_applies_change_nothing_but_the_version(log, orders):
    filled(orders, 1)
    log.append("of another program", {"x": 1}, aggregate_id="order-1")
    order = orders.load("order-1")
    assert (order.version, order.open_quantity) == (2, 999)
    order.fill(1)
    assert [receipt.aggregate_version for receipt in orders.save(order)] == [3]


def test_events_are_presented_before_they_are_applied(log):
    log.append("order_placed", {"qty": 7}, aggregate_id="order-1")

    def present(event):
        return [Event(event.event_type, {"quantity": event.data["qty"]}, event.metadata)]

    order = Repository(log, Order, present=present).load("order-1")
    assert (order.open_quantity, order.version) == (7, 0)


def test_a_method_that_fails_on_a_stored_event_names_it(log, orders):
    log.append("order_placed", {}, aggregate_id="order-1")
    with pytest.raises(KeyError) as caught:
        orders.load("order-1")
    assert caught.value.__notes__ == ["while folding order_placed at seq 0 into order-1"]


# Commands


def test_a_command_is_decided_and_stored(log, orders):
    orders.execute("order-1", lambda order: order.place(2))
    done = orders.execute("order-1", lambda order: order.fill(2), source="exchange")
    assert done.result == 0
    assert [receipt.seq for receipt in done.receipts] == [1, 2]
    assert done.aggregate.version == 2
    assert stored(log) == [
        ("order_placed", "order-1", 0),
        ("order_filled", "order-1", 1),
        ("order_done", "order-1", 2),
    ]


def test_a_command_that_decides_nothing_writes_nothing(log, orders):
    orders.execute("order-1", lambda order: order.cancel())
    again = orders.execute("order-1", lambda order: order.cancel())
    assert (again.receipts, again.aggregate.version, log.last_seq) == ([], 0, 0)


def test_a_command_that_raises_writes_nothing(log, orders):
    def place_and_regret(order):
        order.place(1)
        raise RefusedError

    with pytest.raises(RefusedError):
        orders.execute("order-1", place_and_regret)
    assert log.last_seq is None


def test_a_rival_makes_the_command_decide_again(log, orders):
    orders.execute("order-1", lambda order: order.place(10))
    seen = []

    def command(order):
        if len(seen) < 2:
            log.append("order_filled", {"quantity": 1}, aggregate_id="order-1")
        seen.append(order.open_quantity)
        return order.fill(order.open_quantity)

    done = orders.execute("order-1", command)
    assert seen == [10, 9, 8]
    assert done.aggregate.status == "done"
    assert [event.data.get("quantity") for event in log.read(types=["order_filled"])] == [1, 1, 8]


@pytest.mark.parametrize("retries", [0, 2])
def test_the_last_conflict_is_raised_when_retries_are_used_up(log, orders, retries):
    tries = []

    def command(order):
        tries.append(log.append("order_filled", {"quantity": 0}, aggregate_id="order-1").aggregate_version)
        order.place(1)

    with pytest.raises(VersionConflictError) as caught:
        orders.execute("order-1", command, retries=retries)
    assert tries == list(range(retries + 1))
    assert caught.value.actual == retries
    assert caught.value.aggregate_id == "order-1"
    assert caught.value.__notes__ == [f"given up after {retries} retries"]
    assert stored(log, types=["order_placed"]) == []


def test_threads_that_compete_lose_no_update(log, orders):
    orders.execute("order-1", lambda order: order.place(1_000))

    def work():
        for _ in range(10):
            orders.execute("order-1", lambda order: order.fill(1), retries=1_000)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    order = orders.load("order-1")
    assert (order.open_quantity, order.version) == (960, 40)


def test_retrying_is_for_any_act_and_for_conflicts_alone():
    calls = []

    def act():
        calls.append(1)
        if len(calls) < 3:
            raise VersionConflictError("faster")
        return "done"

    assert retry_on_conflict(act) == "done"
    with pytest.raises(ZeroDivisionError):
        retry_on_conflict(lambda: 1 / 0)
    assert len(calls) == 3


# Several aggregates


def test_several_aggregates_are_saved_in_one_batch_or_not_at_all(log, orders):
    one, two = orders.load("order-1"), orders.load("order-2")
    one.place(1)
    one.fill(1)
    two.place(2)
    receipts = orders.save(one, two)
    assert [(receipt.seq, receipt.aggregate_version) for receipt in receipts] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 0),
    ]
    assert (one.version, two.version) == (2, 0)
    two.fill(1)
    one.emit("order_cancelled", None)
    log.append("order_filled", {"quantity": 1}, aggregate_id="order-2")
    with pytest.raises(VersionConflictError) as caught:
        orders.save(one, two)
    assert (caught.value.aggregate_id, caught.value.actual) == ("order-2", 1)
    assert log.last_seq == 4
    assert len(one.pending) == len(two.pending) == 1


def test_an_aggregate_that_decided_nothing_is_checked(log, orders):
    filled(orders, 0, "order-1")
    limit, order = orders.load("order-1"), orders.load("order-2")
    order.place(1)
    log.append("order_filled", {"quantity": 1}, aggregate_id="order-1")
    with pytest.raises(VersionConflictError) as caught:
        orders.save(order, limit)
    assert (caught.value.aggregate_id, caught.value.expected, caught.value.actual) == ("order-1", 0, 1)
    assert stored(log, aggregate_id="order-2") == []
    assert len(orders.save(order, orders.load("order-1"), orders.load("never was"))) == 1


def test_one_aggregate_twice_in_a_batch_is_refused(log, orders):
    one, copy = orders.load("order-1"), orders.load("order-1")
    one.place(1)
    copy.place(2)
    with pytest.raises(ValueError, match="twice"):
        orders.save(one, copy)
    assert log.last_seq is None


# Snapshots


class Counted(Order):
    """An order whose loads are counted; each test makes a class of its own where it changes one."""


@pytest.fixture
def counting(log):
    """A repository with a snapshot every five events, and a function: an order, and how many events its load took."""
    taken = []

    def present(event):
        taken.append(event)
        return [event]

    def loaded(log=log, kind=Counted, **bounds):
        taken.clear()
        order = Repository(log, kind, present=present).load("order-1", **bounds)
        return order, len(taken)

    return Repository(log, Counted, snapshot_every=5), loaded


def test_a_load_begins_with_the_newest_snapshot(tmp_path, log, counting):
    repository, loaded = counting
    filled(repository, 12)
    order, applied = loaded()
    assert applied == 3
    assert (order.version, order.open_quantity) == (12, 988)
    assert order.state() == Repository(log, Order).load("order-1").state()
    assert loaded(to_version=8)[1] == 4
    assert loaded(to_version=3)[1] == 4
    log.close()
    with aresbus.open(tmp_path / "log") as again:
        assert loaded(again)[1] == 3


def test_a_raised_reducer_version_makes_snapshots_worthless(log, counting, caplog):
    repository, loaded = counting
    filled(repository, 6)

    class Changed(Counted):
        reducer_version = 2

    Changed.__name__ = Counted.__name__
    order, applied = loaded(kind=Changed)
    assert (applied, order.open_quantity) == (7, 994)
    assert "1 unusable snapshots of order-1 ignored" in caplog.text


def test_a_batch_over_a_boundary_makes_one_snapshot(log, counting):
    repository, loaded = counting
    order = repository.load("order-1")
    order.place(100)
    for _ in range(11):
        order.fill(1)
    repository.save(order)
    assert [seq for seq, _ in read_snapshots(log, "Counted(order-1)")] == [11]
    assert loaded()[1] == 0


def test_snapshots_of_a_class_are_not_those_of_reducers(log, counting):
    repository, _ = counting
    filled(repository, 5)
    reducers = aresbus.Reducers()
    reducers.register("order_filled", lambda state, event: {"fills": state.get("fills", 0) + 1})
    rebuilt = aresbus.rebuild(log, "order-1", reducers)
    assert (rebuilt.state, rebuilt.ignored_snapshots) == ({"fills": 5}, 0)


def test_a_state_that_json_would_change_is_not_stored(log, caplog):
    class Exact(Order):
        def __init__(self, aggregate_id):
            super().__init__(aggregate_id)
            self.limits = (1, 2)

    repository = Repository(log, Exact, snapshot_every=1)
    repository.execute("order-1", lambda order: order.place(1))
    assert "override state() and restore() of Exact" in caplog.text
    assert repository.load("order-1").limits == (1, 2)


def test_a_class_may_say_how_its_state_becomes_json(log):
    class Exact(Order):
        def __init__(self, aggregate_id):
            super().__init__(aggregate_id)
            self.total = Decimal(0)

        @applies("order_placed")
        def on_placed(self, event):
            self.total += event.data["quantity"]

        def state(self):
            return {"total": str(self.total)}

        def restore(self, state):
            self.total = Decimal(state["total"])

    repository = Repository(log, Exact, snapshot_every=1)
    repository.execute("order-1", lambda order: order.place(7))
    assert repository.load("order-1").total == Decimal(7)
    assert len(read_snapshots(log, "Exact(order-1)")) == 1


def test_a_snapshot_that_cannot_be_restored_is_passed_over(log, counting, caplog):
    repository, _ = counting
    filled(repository, 6)

    class Picky(Counted):
        def restore(self, state):
            raise KeyError("gone")

    Picky.__name__ = Counted.__name__
    with caplog.at_level(logging.ERROR):
        order = Repository(log, Picky).load("order-1")
    assert (order.version, order.open_quantity) == (6, 994)
    assert "cannot be restored" in caplog.text


def test_a_failing_state_fails_no_save(log, caplog):
    class Broken(Order):
        def state(self):
            raise KeyError("state")

    repository = Repository(log, Broken, snapshot_every=1)
    assert len(repository.execute("order-1", lambda order: order.place(1)).receipts) == 1
    assert "no snapshot of order-1" in caplog.text


@pytest.mark.parametrize("every", [0, -1])
def test_a_snapshot_every_no_events_is_refused(log, every):
    with pytest.raises(ValueError, match="snapshot_every"):
        Repository(log, Order, snapshot_every=every)


def test_an_aggregate_without_its_first_events_needs_a_snapshot():
    with aresbus.Log(None, memory_bytes=4 << 20) as log:
        repository = Repository(log, Order)
        filled(repository, 3)
        for n in range(1_500):
            log.append("noise", [n, "x" * 10_000])
        with pytest.raises(TruncatedError):
            repository.load("order-1")
