"""Durable subscriptions: at least once across restarts, parked deliveries that outlive the process, keys in order, R19."""

import asyncio

import aresbus
import pytest
from aresbus import ConfigError, LogLockedError
from aresbus.cli import main
from aresbus.subscriptions import Anchor, CaughtUp, Rewound
from aresbus.subscriptions.checkpoints import folder_of, names_in
from aresbus.testing import settled
from bus_support import Seen, copy_beside_its_writer, keep_only_subscriptions, make_bus, publish, run, until


def records(folder, name: str, kind: str) -> list[dict]:
    with aresbus.open(folder_of(str(folder), name), mode="r") as memory:
        return [event.data for event in memory.read(types=kind)]


def test_it_goes_on_where_it_stopped_and_gets_what_came_meanwhile(tmp_path):
    async def act():
        seen, messages = Seen(), []
        async with make_bus(tmp_path) as bus:
            await publish(bus, 0)
            bus.subscribe("risk_alert", seen, name="desk")
            await publish(bus, 1, 2)
            await settled(bus)
        async with make_bus(tmp_path) as bus:
            await publish(bus, 3)
            bus.subscribe("risk_alert", seen, name="desk", on_message=messages.append)
            await publish(bus, 4)
            await settled(bus)
            await until(lambda: CaughtUp in map(type, messages))
        assert seen == [1, 2, 3, 4]
        assert list(names_in(str(tmp_path))) == ["desk"]

    run(act())


def test_subscribed_before_the_log_is_open_it_has_its_place_too(tmp_path):
    async def act():
        seen = Seen()
        for n in range(3):
            bus = make_bus(tmp_path)
            bus.subscribe("risk_alert", seen, name="desk")
            await bus.initialize()
            await publish(bus, n)
            if n != 1:  # the second life delivers nothing
                await bus.process_pending()
            await bus.stop()
        assert seen == [0, 1, 2]

    run(act())


def test_from_now_on_is_remembered_from_the_first_moment(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        await publish(bus, 0)
        bus.subscribe("risk_alert", Seen(), name="desk")
        await publish(bus, 1)
        bus.log.sync()
        copy = tmp_path / "copy"  # as a crash would leave it: nothing was delivered or closed
        copy_beside_its_writer(tmp_path, copy)
        await bus.stop()
        seen = Seen()
        async with make_bus(copy) as again:
            again.subscribe("risk_alert", seen, name="desk")
            await settled(again)
        assert seen == [1]

    run(act())


def test_parked_deliveries_outlive_the_process_and_hold_up_their_key(tmp_path):
    async def act():
        seen, is_ready = [], False

        def on_event(event):
            if event.aggregate_id == "a" and not is_ready:
                raise OSError("closed")
            seen.append(event.data)

        async with make_bus(tmp_path) as bus:
            bus.subscribe("risk_alert", on_event, name="desk", max_retries=1, back_off=(0.001, 0.001))
            await publish(bus, 0, 1, aggregate_id="a")
            await publish(bus, 2, aggregate_id="b")
            await settled(bus)
        assert seen == [2]
        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", on_event, name="desk", max_retries=1, back_off=(0.001, 0.001))
            is_ready = True
            await publish(bus, 3, aggregate_id="a")
            await publish(bus, 4, aggregate_id="b")
            await settled(bus)
            assert seen == [2, 4], "3 queues behind 0 and 1"
            parked = mine.parked()
            assert [(one.event.data, one.attempts, one.is_queued, one.key) for one in parked] == [
                (0, 2, False, "a"),
                (1, 0, True, "a"),
                (3, 0, True, "a"),
            ]
            assert "OSError('closed')" in parked[0].error.message
            assert await mine.redeliver_parked() == (3, 0)
            await publish(bus, 5, aggregate_id="a")
            await settled(bus)
            assert seen == [2, 4, 0, 1, 3, 5]
        async with make_bus(tmp_path) as bus:
            assert bus.subscribe("risk_alert", on_event, name="desk").parked() == []

    run(act())


def test_redelivering_keeps_the_order_of_a_key_that_fails_again(tmp_path):
    async def act():
        tries = []

        def on_event(event):
            tries.append(event.data)
            raise OSError("closed")

        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", on_event, name="desk", max_retries=0)
            await publish(bus, 0, 1, aggregate_id="a")
            await publish(bus, 2, aggregate_id="b")
            await settled(bus)
            tries.clear()
            assert await mine.redeliver_parked() == (0, 3)
            assert tries == [0, 2], "1 waits behind 0"
            assert mine.drop_parked(seq=0) == 1
            assert [one.event.data for one in mine.parked()] == [1, 2]

    run(act())


def test_a_park_record_holds_the_whole_event(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", lambda event: 1 / 0, name="desk", max_retries=0)
            data = {"px": 1.5, "text": "é\u0000", "deep": [{"n": None}]}
            await bus.publish("risk_alert", data, "src", "corr", "agg", {"t": "1"}, schema_version="1.0.0")
            await settled(bus)
            whole = mine.parked()[0].event.to_dict()
        (record,) = records(tmp_path, "desk", "parked")
        kept = record["event"]
        assert kept["data"] == data
        for one in (kept, whole):
            one["metadata"].pop("status")
        assert kept == whole

    run(act())


def test_a_waiting_retry_is_kept_across_a_restart(tmp_path):
    async def act():
        tries = []

        def on_event(event):
            tries.append((event.data, mine.attempt, event.metadata.retry_count))
            if len(tries) < 3:
                raise OSError("not yet")

        terms = {"name": "desk", "max_retries": 5, "back_off": (30.0, 30.0)}
        bus = make_bus(tmp_path)
        async with bus:
            mine = bus.subscribe("risk_alert", on_event, **terms)
            await publish(bus, 0)
            await until(lambda: len(tries) == 1)
            await bus.stop(timeout=0)
        terms["back_off"] = (0.001, 0.001)
        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", on_event, **terms)
            await settled(bus)
        assert tries == [(0, 0, 0), (0, 1, 1), (0, 2, 2)]

    run(act())


def test_one_bus_at_a_time_uses_a_name(tmp_path):
    async def act():
        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", Seen(), name="desk")
            with pytest.raises(LogLockedError, match="'desk' is in use"):
                bus.subscribe("risk_alert", Seen(), name="desk")
            async with make_bus(tmp_path, mode="r") as reader:
                with pytest.raises(LogLockedError):
                    reader.subscribe("risk_alert", Seen(), name="desk")
                mine.unsubscribe()
                reader.subscribe("risk_alert", Seen(), name="desk")

    run(act())


def test_a_log_in_memory_cannot_be_durable(tmp_path):
    async def act():
        async with make_bus(tmp_path, enable_persistence=False) as bus:
            with pytest.raises(ConfigError, match="remembers nothing"):
                bus.subscribe("risk_alert", Seen(), name="desk")
            assert bus.subscriptions == []

    run(act())


def test_a_reader_may_be_durable_and_goes_on_with_the_next_writer(tmp_path):
    async def act():
        seen = Seen()
        for life in range(3):
            async with make_bus(tmp_path) as writer:
                await publish(writer, 10 * life)
                async with make_bus(tmp_path, mode="r") as reader:
                    reader.subscribe("risk_alert", seen, name="desk", after="start")
                    newest = 10 * life + 1
                    await publish(writer, newest)
                    await until(lambda newest=newest: newest in seen)
                    writer.log.sync()
                    await until(lambda: reader.log.durable_seq == writer.log.last_seq)
                await publish(writer, 10 * life + 2)
        assert seen == [0, 1, 2, 10, 11, 12, 20, 21]

    run(act())


def test_a_checkpoint_is_never_ahead_of_what_is_durable(tmp_path):
    async def act():
        options = {"durability": "none", "sync_interval_ms": 60_000}
        bus = make_bus(tmp_path, log_options=options, processing_interval=0.005)
        async with bus:
            seen = Seen()
            bus.subscribe("risk_alert", seen, name="desk")
            await publish(bus, *range(20))
            await until(lambda: len(seen) == 20)
            passes = bus.get_metrics()["housekeeping_passes"]
            await until(lambda: bus.get_metrics()["housekeeping_passes"] > passes + 3)
            durable = bus.log.durable_seq
            stored = records(tmp_path, "desk", "checkpoint")[-1]["seq"]
            assert durable is None or stored <= durable
            assert stored < 19
            bus.log.sync()
            await until(lambda: records(tmp_path, "desk", "checkpoint")[-1]["seq"] == 19)

    run(act())


@pytest.mark.parametrize("size", [10, 1_100_000, 5_000_000])
def test_an_event_of_any_size_can_be_parked(tmp_path, size):
    async def act():
        def refuse(event):
            raise ValueError("no")

        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", refuse, name="desk", max_retries=0)
            await publish(bus, "x" * size, 1, aggregate_id="a")
            await until(lambda: len(mine.parked()) == 2)
            assert mine.halted_for is None
        seen = Seen()
        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", seen, name="desk")
            assert await mine.redeliver_parked() == (2, 0)
        assert seen == ["x" * size, 1]

    run(act())


class Unspeakable:
    def __str__(self):
        raise ValueError("no text")


@pytest.mark.parametrize(
    "key", [Unspeakable(), "\ud800", [1], float("nan"), b"\xff"], ids=lambda one: type(one).__name__
)
def test_whatever_a_key_or_a_reason_is_the_subscription_goes_on(tmp_path, key):
    async def act():
        others = Seen()
        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe(
                "risk_alert",
                lambda event: mine.nack(event, "park", "because \udcff"),
                name="desk",
                key=lambda _: key,
            )
            bus.subscribe("risk_alert", others)
            await publish(bus, 0, 1)
            await until(lambda: len(mine.parked()) == 2 == len(others))
            assert mine.halted_for is None
            # What has no text holds up nothing.
            assert [one.is_queued for one in mine.parked()] == [False, not isinstance(key, Unspeakable)]
        async with make_bus(tmp_path) as bus:
            mine = bus.subscribe("risk_alert", Seen(), name="desk")
            assert await mine.redeliver_parked() == (2, 0)

    run(act())


def test_the_checkpoint_can_be_asked_for(tmp_path):
    async def act():
        async with make_bus(tmp_path, processing_interval=0.005) as bus:
            mine = bus.subscribe("risk_alert", Seen(), name="desk", after="start")
            live = bus.subscribe("risk_alert", Seen())
            assert (mine.checkpoint, live.checkpoint) == (None, None)
            await publish(bus, 0, 1)
            bus.log.sync()
            await until(lambda: mine.checkpoint is not None and mine.checkpoint.seq == 1)
            last = bus.get_event_history(1)[0]
            assert mine.checkpoint == Anchor(last.epoch, 1, last.event_id)
            with pytest.raises(AttributeError):
                mine.checkpoint.seq = 2
            with pytest.raises(AttributeError):
                mine.checkpoint = None
            assert live.checkpoint is None
        assert mine.checkpoint is None  # the log is closed
        async with bus:
            assert mine.checkpoint == Anchor(last.epoch, 1, last.event_id)

    run(act())


@pytest.mark.parametrize("after", [None, "start"])
def test_a_checkpoint_before_the_first_event_is_none(tmp_path, after, capsys):
    async def act():
        async with make_bus(tmp_path) as bus:
            assert bus.subscribe("risk_alert", Seen(), name="desk", after=after).checkpoint is None

    run(act())
    assert main(["subscriptions", str(tmp_path), "--json"]) == 0
    assert '"checkpoint": null' in capsys.readouterr().out
    assert main(["subscriptions", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split()[-4:] == ["desk", "-", "0", "0"]


@pytest.mark.parametrize("has_gone_on", [True, False], ids=["with newer events", "at its end"])
def test_a_checkpoint_of_a_lost_event_is_not_believed(tmp_path, has_gone_on):
    folder, older = tmp_path / "log", tmp_path / "older"

    async def act():
        seen, messages = Seen(), []
        bus = make_bus(folder)
        await bus.initialize()
        bus.subscribe("risk_alert", seen, name="desk")
        await publish(bus, 0, 1)
        bus.log.sync()
        copy_beside_its_writer(folder, older)
        await publish(bus, 2, 3)
        await bus.process_pending()
        await bus.stop()
        keep_only_subscriptions(folder, older)
        if has_gone_on:
            with aresbus.open(folder) as log:
                for n in (20, 30, 40):
                    log.append("risk_alert", n)
        async with make_bus(folder) as bus:
            bus.subscribe("risk_alert", seen, name="desk", on_message=messages.append)
            await publish(bus, 50)
            await settled(bus)
            await until(lambda: messages)
        assert messages[0] == Rewound(3, 2)
        assert seen == [0, 1, 2, 3, *([20, 30, 40] if has_gone_on else []), 50]
        async with make_bus(folder) as bus:
            bus.subscribe("risk_alert", seen, name="desk", on_message=messages.append)
            await settled(bus)
        assert [one for one in messages if isinstance(one, Rewound)] == [Rewound(3, 2)], "told once"

    run(act())


def test_what_was_parked_of_a_lost_event_is_still_there_whole(tmp_path):
    folder, older = tmp_path / "log", tmp_path / "older"

    async def act():
        bus = make_bus(folder)
        await bus.initialize()
        bus.subscribe("risk_alert", lambda event: 1 / 0, name="desk", max_retries=0)
        bus.log.sync()
        copy_beside_its_writer(folder, older)
        await bus.publish("risk_alert", {"n": 1}, aggregate_id="a")
        await bus.process_pending()
        await bus.stop()
        keep_only_subscriptions(folder, older)
        seen = Seen()
        async with make_bus(folder) as bus:
            mine = bus.subscribe("risk_alert", seen, name="desk")
            assert await mine.redeliver_parked() == (1, 0)
        assert seen == [{"n": 1}]
        assert seen.events[0].aggregate_id == "a"

    run(act())


def test_what_comes_again_after_a_crash_queues_behind_no_later_event_that_is_parked(tmp_path):
    folder, crashed = tmp_path / "log", tmp_path / "crashed"

    async def act():
        def on_event(event):
            if event.data == 2:
                raise ValueError("poison")
            seen.append(event.data)

        seen = []
        # Nothing is durable, so no checkpoint is stored: all comes again.
        bus = make_bus(folder, log_options={"sync_interval_ms": 60_000})
        await bus.initialize()
        bus.subscribe("risk_alert", on_event, name="desk", max_retries=0)
        await publish(bus, 0, 1, 2, 3, aggregate_id="a")
        await bus.process_pending()
        copy_beside_its_writer(folder, crashed)
        await bus.stop()
        assert seen == [0, 1]
        async with make_bus(crashed) as bus:
            mine = bus.subscribe("risk_alert", on_event, name="desk", max_retries=0)
            await settled(bus)
            assert seen == [0, 1, 0, 1]
            assert [(one.event.data, one.is_queued) for one in mine.parked()] == [(2, False), (3, True)]

    run(act())


def test_an_event_in_the_place_of_a_lost_one_that_is_parked_is_another_event(tmp_path):
    folder, older = tmp_path / "log", tmp_path / "older"

    async def act():
        bus = make_bus(folder)
        await bus.initialize()
        bus.subscribe("risk_alert", lambda event: 1 / 0, name="desk", max_retries=0)
        bus.log.sync()
        copy_beside_its_writer(folder, older)
        await publish(bus, 1, aggregate_id="a")
        await bus.process_pending()
        await bus.stop()
        keep_only_subscriptions(folder, older)
        seen = Seen()
        async with make_bus(folder) as bus:
            mine = bus.subscribe("risk_alert", seen, name="desk")
            await publish(bus, 10, aggregate_id="b")
            await publish(bus, 11, aggregate_id="a")
            await settled(bus)
            assert seen == [10]
            parked = [(one.event.data, one.place.seq, one.event.seq) for one in mine.parked()]
            assert parked == [(1, 0, None), (11, 1, 1)], (
                "later events of its key queue behind the lost one too"
            )
            assert mine.drop_parked(seq=0) == 1
            assert await mine.redeliver_parked() == (1, 0)
        assert seen == [10, 11]

    run(act())


def test_the_memory_of_a_dropped_bus_is_released(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        bus.subscribe("risk_alert", Seen(), name="desk")
        await publish(bus, 1)
        del bus
        await asyncio.sleep(0)
        seen = Seen()
        async with make_bus(tmp_path) as bus:
            bus.subscribe("risk_alert", seen, name="desk")
            await settled(bus)
        assert seen == [1]

    run(act())


def test_every_odd_name_is_a_name(tmp_path):
    async def act():
        names = ["desk", "Desk", "../../etc/passwd", "a/b", "é\u0000", " ", "x" * 255]
        async with make_bus(tmp_path) as bus:
            for name in names:
                bus.subscribe("risk_alert", Seen(), name=name)
        assert sorted(names_in(str(tmp_path))) == sorted(names)
        folders = list((tmp_path / "subscriptions").iterdir())
        assert {len(one.name) for one in folders} == {32}

    run(act())
