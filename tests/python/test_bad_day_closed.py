"""Use after close, of everything a log, a store and a bus can be asked; and an empty log, asked the same."""

import asyncio
import inspect
import json

import aresbus
import pytest
from aresbus import (
    EnhancedEventBus,
    Event,
    EventSnapshot,
    FileEventStore,
    LogClosedError,
    MemoryEventStore,
    RetentionPlan,
    RetentionPolicy,
    StorageError,
)
from bad_day_support import aresbus_command, check_error, make_log, numbers, refused
from bus_support import make_bus, run

# A closed log

CALLS = {
    "append": lambda log: log.append("note", 1),
    "append_bytes": lambda log: log.append_bytes("note", b"1"),
    "append_many": lambda log: log.append_many([("note", 1)]),
    "append_many of nothing": lambda log: log.append_many([]),
    "read": lambda log: list(log.read()),
    "read of an aggregate": lambda log: list(log.read(aggregate_id="a")),
    "follow": lambda log: next(log.follow(timeout=0)),
    "wait": lambda log: log.wait(None, timeout=0),
    "wait_durable": lambda log: log.wait_durable(0, timeout=0),
    "sync": lambda log: log.sync(),
    "aggregate_version": lambda log: log.aggregate_version("a"),
    "act": lambda log: log.act("export"),
    "verify": lambda log: log.verify(),
    "stats": lambda log: log.stats(),
    "head": lambda log: log.head(),
    "prove": lambda log: log.prove(0),
    "retention_plan": lambda log: log.retention_plan(RetentionPolicy()),
    "apply_retention": lambda log: log.apply_retention(RetentionPlan(RetentionPolicy(), 0, 0, 0, ())),
    "hold": lambda log: log.hold("case 7", {}, "asked for"),
    "release": lambda log: log.release("case 7"),
    "last_seq": lambda log: log.last_seq,
    "durable_seq": lambda log: log.durable_seq,
    "first_seq": lambda log: log.first_seq,
    "epoch": lambda log: log.epoch,
}
STILL_KNOWN = {
    "anchors",
    "path",
    "mode",
    "log_id",
    "is_closed",
    "poisoned",
    "recovery",
    "durability",
    "audit_trail",
    "holds",
}
ENDING = {"close", "backup"}
WRITING = {"append", "append_bytes", "append_many", "wait_durable", "sync"}


def closed(path, kind):
    """A closed handle on a log of five events."""
    if kind == "memory":
        log = aresbus.Log(None)
        log.append("note", 0, aggregate_id="a")
    else:
        log = aresbus.open(make_log(path / "log"), mode=kind)
    log.close()
    return log


def test_every_public_name_of_a_log_is_asked_here():
    names = {name for name in dir(aresbus.Log) if not name.startswith("_")}
    assert names <= {name.split()[0] for name in CALLS} | STILL_KNOWN | ENDING


@pytest.mark.parametrize("kind", ["rw", "r", "memory"])
@pytest.mark.parametrize("name", CALLS)
def test_a_closed_log_says_that_it_is_closed(tmp_path, name, kind):
    log = closed(tmp_path, kind)
    with pytest.raises(StorageError) as caught:
        CALLS[name](log)
    if kind == "r" and name.split()[0] in WRITING:
        assert type(caught.value) in {LogClosedError, StorageError}
    else:
        check_error(caught.value, LogClosedError, committed=False)
    if kind != "memory":
        assert caught.value.path == log.path
        assert str(log.path) in caught.value.message


@pytest.mark.parametrize("kind", ["rw", "r", "memory"])
def test_what_a_closed_log_still_knows(tmp_path, kind):
    log = closed(tmp_path, kind)
    for name in STILL_KNOWN:
        getattr(log, name)
    assert log.is_closed
    assert "closed" in repr(log)
    for _ in range(3):
        log.close()
    with refused(LogClosedError), log:
        pytest.fail("a closed log was entered")
    if kind != "memory":
        assert numbers(log.path) == [0, 1, 2, 3, 4]


def test_iterators_of_a_closed_log_end_with_the_same_error(tmp_path):
    log = aresbus.open(make_log(tmp_path / "log"))
    iterators = [log.read(), log.follow(), log.read(aggregate_id="a"), log.read()]
    events = [next(events) for events in iterators[:3]]
    log.close()
    for events_left in iterators:
        for _ in range(2):
            with refused(LogClosedError, log.path):
                next(events_left)
        assert events_left.skipped_records == 0
    assert [event.data for event in events] == [0, 0, 0], "events own their bytes"
    assert events[0].raw == b"0"


def test_a_failing_with_block_closes_too(tmp_path):
    with pytest.raises(KeyError), aresbus.open(tmp_path) as log:
        log.append("note", 0)
        raise KeyError(1)
    assert log.is_closed
    assert numbers(tmp_path) == [0]


# A closed store


@pytest.mark.parametrize("make", [FileEventStore, lambda path: MemoryEventStore()], ids=["file", "memory"])
def test_a_closed_store_says_so(tmp_path, make):
    store = make(tmp_path)
    assert run(store.save_event(Event("risk_alert", 1)))
    store.close()
    store.close()
    snapshot = EventSnapshot("s", aresbus.EventMetadata().timestamp, "a", 0, {})
    for act in (
        lambda: store.save_event(Event("risk_alert", 1)),
        store.get_events,
        lambda: store.save_snapshot(snapshot),
        lambda: store.get_latest_snapshot("a"),
    ):
        with refused(LogClosedError):
            run(act())
    with refused(LogClosedError):
        _ = store.log


# A stopped bus


async def raises_closed(awaitable):
    with refused(LogClosedError):
        await awaitable


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
def test_a_stopped_bus_stores_nothing_in_silence_and_can_still_be_asked(tmp_path, strict):
    async def act():
        bus = EnhancedEventBus({"event_bus": {"storage_path": str(tmp_path)}}, strict=strict)
        seen = []
        subscription = bus.subscribe("risk_alert", seen.append)
        await bus.initialize()
        await bus.publish("risk_alert", 1)
        await bus.stop()
        await raises_closed(bus.publish("risk_alert", 2))
        check_error(bus.last_error, LogClosedError)
        assert "initialize" in str(bus.last_error)
        for durability in ("none", "group", "always"):
            await raises_closed(bus.publish("risk_alert", 2, durability=durability))
        await raises_closed(bus.run())
        await raises_closed(bus.process_pending())
        await raises_closed(bus.replay_events())
        await raises_closed(bus.rebuild_from_events("a"))
        with refused(LogClosedError):
            _ = bus.log
        assert bus.metrics["events_rejected"] == 0
        ask_everything(bus)
        bus.unsubscribe("risk_alert", seen.append)
        bus.subscribe("risk_alert", seen.append)
        bus.register_reducer("risk_alert", lambda state, event: state)
        subscription.unsubscribe()
        await bus.stop()
        await bus.stop(timeout=0)

    run(act())
    assert numbers(tmp_path) == [1]


def ask_everything(bus):
    """Every reading of a bus, which never opens, raises or waits."""
    json.dumps(bus.get_status())
    json.dumps(bus.get_history(10))
    assert bus.get_status()["log"] is None
    assert bus.event_queue.empty()
    for name, _ in inspect.getmembers(type(bus), lambda member: isinstance(member, property)):
        if name != "log":
            getattr(bus, name)
    bus.get_metrics()
    bus.get_event_history(10)


def test_a_bus_that_was_never_opened_can_be_asked_and_touches_nothing(tmp_path):
    bus = make_bus(tmp_path / "log")
    ask_everything(bus)
    run(bus.stop())
    assert not (tmp_path / "log").exists()


def test_a_stopped_bus_begins_again(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        for number in range(3):
            async with bus:
                await bus.publish("risk_alert", number)
            await raises_closed(bus.publish("risk_alert", "lost"))

    run(act())
    assert numbers(tmp_path) == [0, 1, 2]


def test_a_subscription_made_after_stop_gets_what_comes_after_the_next_start(tmp_path):
    async def act():
        bus, seen = make_bus(tmp_path), []
        async with bus:
            await bus.publish("risk_alert", "before")
        bus.subscribe("risk_alert", lambda event: seen.append(event.data))
        async with bus:
            await bus.publish("risk_alert", "after")
        assert seen == ["after"]

    run(act())


def test_the_log_closed_under_a_bus(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        await bus.publish("risk_alert", 1)
        bus.log.close()
        await raises_closed(bus.publish("risk_alert", 2))
        await raises_closed(bus.publish("risk_alert", 2, durability="group"))
        ask_everything(bus)
        assert await bus.initialize()
        await bus.publish("risk_alert", 3)
        await bus.stop()

    run(act())
    assert numbers(tmp_path) == [1, 3]


def test_publications_awaited_after_stop_tell_what_became_of_them(tmp_path):
    async def act():
        bus = make_bus(tmp_path, log_options={"durability": "group"})
        await bus.initialize()
        publications = [bus.publish("risk_alert", number) for number in range(3)]
        await bus.stop()
        return await asyncio.gather(*publications, return_exceptions=True)

    outcomes = run(act())
    assert numbers(tmp_path) == [0, 1, 2]
    for seq, outcome in enumerate(outcomes):
        if isinstance(outcome, str):
            continue
        check_error(outcome, LogClosedError, committed=True, seq=seq)


# An empty log


@pytest.fixture(params=["rw", "r", "memory"])
def empty(request, tmp_path):
    if request.param == "memory":
        log = aresbus.Log(None)
    else:
        log = aresbus.open(make_log(tmp_path / "log", 0), mode=request.param)
    with log:
        yield log


def test_an_empty_log_answers_every_question(empty):
    assert list(empty.read()) == []
    assert list(empty.read(after=0)) == []
    assert list(empty.read(after=10**15, up_to=10**16)) == []
    assert list(empty.read(up_to=0, limit=0)) == []
    assert list(empty.read(since=0, until=2**62)) == []
    assert list(empty.read(types=[])) == []
    assert list(empty.read(types="note", aggregate_id="a", durable=True)) == []
    assert list(empty.follow(timeout=0)) == []
    assert list(empty.follow(after=5, timeout=0.01)) == []
    assert empty.wait(None, timeout=0) is False
    assert (empty.first_seq, empty.last_seq, empty.durable_seq) == (0, None, None)
    assert empty.aggregate_version("a") is None
    assert empty.verify()["findings"] == []
    stats = empty.stats()
    assert (stats["event_count"], stats["aggregate_count"], stats["last_seq"]) == (0, 0, None)
    assert empty.read().position is None


def test_an_empty_log_can_be_synced_and_takes_an_empty_batch(tmp_path):
    with aresbus.open(tmp_path) as log:
        assert log.sync() is None
        assert log.append_many([]) == []
        assert log.wait_durable(0, timeout=0) is False
        assert log.last_seq is None
    with aresbus.open(tmp_path) as log:
        assert log.recovery["clean"]
        assert log.append("note", 0).seq == 0


def test_each_verb_takes_an_empty_log(tmp_path):
    log = make_log(tmp_path / "log", 0)
    for arguments in (
        ("read", log),
        ("read", log, "--json"),
        ("read", log, "--raw", "--durable"),
        ("read", log, "--after", 7, "--limit", 3, "--type", "x", "--aggregate", "a"),
    ):
        done = aresbus_command(*arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for verb in ("info", "verify"):
        for flags in ((), ("--json",)):
            done = aresbus_command(verb, log, *flags)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout


@pytest.mark.parametrize("verb", ["read", "info", "verify"])
def test_each_verb_says_so_where_there_is_no_log(tmp_path, verb):
    for place in (tmp_path, tmp_path / "nothing"):
        done = aresbus_command(verb, place)
        assert (done.returncode, done.stdout) == (2, "")
        assert str(place) in done.stderr
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bus_on_an_empty_log(tmp_path):
    make_log(tmp_path / "log", 0)

    async def act(**keywords):
        async with EnhancedEventBus(
            {"event_bus": {"storage_path": str(tmp_path / "log")}}, **keywords
        ) as bus:
            assert await bus.replay_events() == []
            assert await bus.replay_events("a", 5, 3, ["risk_alert"]) == []
            assert await bus.rebuild_from_events("a") == {}
            assert await bus.rebuild_from_events("a", 7) == {}
            assert await bus.process_pending() == 0
            assert bus.get_event_history(5) == bus.get_history(5) == []
            assert bus.event_queue.empty()
            assert bus.snapshots == {}

    run(act())
    run(act(mode="r"))
    run(act(strict=True))
