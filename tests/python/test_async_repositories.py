"""Repositories on a bus: what is decided is delivered, inherits its cause, and holds no loop."""

import asyncio

import pytest
from aresbus import AsyncRepository, VersionConflictError, register_event_type, retry_on_conflict_async
from aresbus.testing import InMemoryBus, settled
from bus_support import Seen, make_bus, run
from order_support import Order, RefusedError
from snapshot_support import read_snapshots

for text in ("order_placed", "order_filled", "order_done", "order_cancelled"):
    register_event_type(text)


def test_what_is_decided_is_delivered():
    async def act():
        bus, seen = InMemoryBus(), Seen()
        bus.subscribe("order_filled", seen)
        orders = AsyncRepository(bus, Order)
        await orders.execute("order-1", lambda order: order.place(3))
        done = await orders.execute("order-1", lambda order: order.fill(2))
        assert (done.result, done.aggregate.version) == (1, 1)
        await bus.settled()
        assert seen == [{"quantity": 2}]
        assert seen.events[0].event_id == done.receipts[0].event_id
        assert (await orders.load("order-1", to_version=0)).open_quantity == 3

    run(act())


def test_a_command_may_be_async():
    async def act():
        bus = InMemoryBus()
        orders = AsyncRepository(bus, Order)

        async def command(order):
            await asyncio.sleep(0)
            order.place(1)
            return "placed"

        assert (await orders.execute("order-1", command)).result == "placed"

        async def refusing(order):
            await asyncio.sleep(0)
            raise RefusedError

        with pytest.raises(RefusedError):
            await orders.execute("order-1", refusing)
        assert bus.log.last_seq == 0

    run(act())


def test_within_a_handler_the_cause_is_inherited():
    async def act(tracking):
        bus = InMemoryBus(correlation_tracking=tracking)
        orders = AsyncRepository(bus, Order)

        async def on_alert(event):
            await orders.execute("order-1", lambda order: order.cancel())

        bus.subscribe("risk_alert", on_alert)
        cause = await bus.publish("risk_alert", {}, correlation_id="talk")
        await bus.settled()
        (cancelled,) = bus.log.read(types=["order_cancelled"])
        return (cancelled.correlation_id, cancelled.causation_id == cause)

    assert run(act(tracking=True)) == ("talk", True)
    assert run(act(tracking=False)) == (None, False)


def test_tasks_that_compete_lose_no_update():
    async def act():
        orders = AsyncRepository(InMemoryBus(), Order)
        await orders.execute("order-1", lambda order: order.place(100))
        await asyncio.gather(
            *(orders.execute("order-1", lambda order: order.fill(1), retries=1_000) for _ in range(20))
        )
        order = await orders.load("order-1")
        assert (order.open_quantity, order.version) == (80, 20)

    run(act())


def test_the_last_conflict_is_raised():
    async def act():
        bus = InMemoryBus()
        orders = AsyncRepository(bus, Order)
        tries = []

        async def command(order):
            tries.append(await bus.publish("order_filled", {"quantity": 0}, aggregate_id="order-1"))
            order.place(1)

        with pytest.raises(VersionConflictError) as caught:
            await orders.execute("order-1", command, retries=1)
        assert len(tries) == 2
        assert caught.value.actual == 1

    run(act())


def test_retrying_asynchronously_is_for_any_act():
    async def act():
        calls = []

        async def work():
            calls.append(1)
            await asyncio.sleep(0)
            if len(calls) < 2:
                raise VersionConflictError("faster")
            return len(calls)

        assert await retry_on_conflict_async(work) == 2

    run(act())


@pytest.mark.parametrize("durability", ["interval", "group"])
def test_on_disk_with_snapshots_and_durability(tmp_path, durability):
    async def act():
        async with make_bus(tmp_path, log_options={"durability": durability}) as bus:
            orders, seen = AsyncRepository(bus, Order, snapshot_every=2), Seen()
            bus.subscribe("order_filled", seen)
            await orders.execute("order-1", lambda order: order.place(10))
            done = await orders.execute("order-1", lambda order: order.fill(1))
            if durability == "group":
                assert bus.log.durable_seq >= done.receipts[-1].seq
            assert [seq for seq, _ in read_snapshots(bus.log, "Order(order-1)")] == [1]
            await settled(bus)
            assert len(seen) == 1
            assert (await orders.load("order-1")).version == 1
        async with make_bus(tmp_path) as bus:
            assert (await AsyncRepository(bus, Order).load("order-1")).open_quantity == 9

    run(act())


def test_several_aggregates_in_one_batch():
    async def act():
        bus = InMemoryBus()
        orders = AsyncRepository(bus, Order)
        one, two = await orders.load("order-1"), await orders.load("order-2")
        one.place(1)
        two.place(2)
        assert [receipt.seq for receipt in await orders.save(one, two, source="desk")] == [0, 1]
        assert (one.version, two.version, one.pending) == (0, 0, ())
        assert await orders.save(one, two) == []

    run(act())


def test_a_snapshot_every_no_events_is_refused():
    with pytest.raises(ValueError, match="snapshot_every"):
        AsyncRepository(InMemoryBus(), Order, snapshot_every=0)
