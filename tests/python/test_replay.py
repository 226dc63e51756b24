"""What a replay delivers: which events, in which order, at what time, and what becomes of what handlers publish."""

import asyncio
import inspect
import logging

import aresbus
import pytest
from aresbus import (
    BusStateError,
    ConfigError,
    EnhancedEventBus,
    Event,
    EventType,
    HandlerError,
    Log,
    LogClosedError,
    Replay,
    ReplayReport,
    StrategyBus,
    digest_of,
)
from aresbus.testing import settled
from bus_support import Seen, make_bus, run
from replay_support import EVENT_LAG_NS, ORDER, SECOND_NS, START_NS, TICK, Doubler, Ticks, write_ticks


@pytest.fixture
def log():
    return write_ticks(None)


def replayed(log, **options):
    """The numbers of the ticks that such a replay delivers."""
    replay = Replay(log, **options)
    ticks = Ticks()
    replay.subscribe(TICK, ticks)
    replay.run()
    return ticks


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, range(10)),
        ({"after": 3}, range(4, 10)),
        ({"up_to": 3}, range(4)),
        ({"after": 3, "up_to": 5}, (4, 5)),
        ({"up_to": 1_000}, range(10)),
        ({"after": 9}, ()),
        ({"since": START_NS + 7 * SECOND_NS}, (7, 8, 9)),
        ({"until": START_NS + 2 * SECOND_NS}, (0, 1)),
        ({"since": START_NS, "time": "event"}, range(5, 10)),
        ({"types": "tick"}, range(10)),
        ({"types": ["order"]}, ()),
        ({"types": []}, ()),
        ({"without": "tick"}, ()),
        ({"without": (TICK,)}, ()),
        ({"aggregate_id": "m1"}, (1, 3, 5, 7, 9)),
    ],
)
def test_the_range_is_what_was_asked_for(log, options, expected):
    assert replayed(log, **options) == list(expected)


def test_a_log_in_use_is_replayed_up_to_where_it_ended(log):
    replay = Replay(log)
    ticks = Ticks()
    replay.subscribe(TICK, ticks)
    replay.subscribe(TICK, lambda event: log.append(TICK, {"n": 100 + event.data["n"]}))
    assert replay.run().is_finished
    assert ticks == list(range(10))


def test_an_empty_log_is_at_its_end_and_stays_there():
    empty = Log(None)
    replay = Replay(empty)
    empty.append(TICK, {"n": 0})
    report = replay.run()
    assert (report.replayed, report.position, report.is_finished) == (0, None, True)


def test_handlers_know_that_it_is_a_replay_also_of_what_they_publish(log):
    seen = []
    replay = Replay(log, up_to=0)
    replay.subscribe(TICK, lambda event: replay.publish(ORDER, {}))
    for kind in (TICK, ORDER):
        replay.subscribe(kind, lambda event: seen.append((str(event.event_type), event.is_replay)))
    replay.run()
    assert seen == [("tick", True), ("order", True)]
    assert not next(iter(log.read())).is_replay


def test_an_event_is_handled_to_its_end_before_the_next_one_is_taken(log):
    replay = Replay(log, up_to=4)
    strategy = Doubler(replay)
    replay.subscribe(ORDER, lambda event: strategy.calls.append(("order", event.data["qty"])))
    replay.run()
    expected = []
    for number in range(5):
        expected.append(("tick", number))
        if number % 2 == 0:
            expected += [("decision", 2 * number), ("order", 2 * number)]
    assert strategy.calls == expected


def test_handlers_are_called_in_the_order_of_subscribing_and_awaited(log):
    calls = []
    replay = Replay(log, up_to=1)

    async def slow(event):
        await asyncio.sleep(0.001)
        calls.append("slow")

    replay.subscribe(TICK, slow)
    replay.subscribe(TICK, lambda event: calls.append("quick"))
    replay.run()
    assert calls == ["slow", "quick"] * 2


def test_subscribing_and_unsubscribing_in_a_handler_hold_from_the_next_event(log):
    replay = Replay(log, up_to=3)
    late, other = Ticks(), Ticks()

    def first(event):
        replay.unsubscribe(TICK, first)
        replay.subscribe(TICK, late)
        subscription.unsubscribe()

    replay.subscribe(TICK, first)
    subscription = replay.subscribe(TICK, other)
    replay.run()
    assert (late, other) == ([1, 2, 3], [])
    assert not subscription.is_active


@pytest.mark.parametrize("time", ["append", "event"])
def test_the_clock_stands_at_the_time_of_the_event(log, time):
    offset = EVENT_LAG_NS if time == "event" else 0
    replay = Replay(log, time=time)
    assert replay.clock.time_ns() == START_NS - offset
    times = []
    replay.subscribe(TICK, lambda event: times.append(replay.clock.time_ns()))
    replay.run()
    assert times == [START_NS - offset + number * SECOND_NS for number in range(10)]
    assert replay.clock.now().tzinfo is not None


def test_the_clock_never_steps_back_though_recorded_times_do():
    log = Log(None)
    for number, event_time in enumerate((100, 300, 200, None, 400)):
        log.append(TICK, {"n": number}, event_time_ns=event_time)
    replay = Replay(log, time="event", without="none")
    times = []
    replay.subscribe(TICK, lambda event: times.append(replay.clock.time_ns()))
    replay.run()
    appended = [event.ts_ns for event in log.read()]
    assert times == [100, 300, 300, appended[3], appended[3]]


def test_what_is_published_has_the_replays_time_cause_and_conversation(log):
    log.append(TICK, {"n": 10}, correlation_id="talk", event_id="mine")
    replay = Replay(log, after=7)
    Doubler(replay)
    replay.run()
    ticks = {event.data["n"]: event for event in log.read()}
    decisions = list(replay.output.read(types=EventType.TRADE_DECISION_MADE))
    orders = list(replay.output.read(types=ORDER))
    assert [event.data["twice"] for event in decisions] == [16, 20]
    assert [event.causation_id for event in decisions] == [ticks[8].event_id, "mine"]
    assert [event.correlation_id for event in decisions] == [ticks[8].event_id, "talk"]
    assert [event.causation_id for event in orders] == [event.event_id for event in decisions]
    assert [event.correlation_id for event in orders] == [event.correlation_id for event in decisions]
    assert [event.ts_ns for event in decisions] == [ticks[8].ts_ns, ticks[10].ts_ns]


def test_without_correlation_tracking_nothing_is_inherited(log):
    replay = Replay(log, up_to=0, correlation_tracking=False)
    Doubler(replay)
    replay.run()
    assert {(event.correlation_id, event.causation_id) for event in replay.output.read()} == {(None, None)}


def test_the_replayed_log_is_never_written(log):
    before = [event.event_id for event in log.read()]
    replay = Replay(log)
    Doubler(replay)
    assert replay.run().published == 10
    assert [event.event_id for event in log.read()] == before


def test_what_is_published_before_the_run_comes_first(log):
    replay = Replay(log)
    strategy = Doubler(replay)
    replay.publish(EventType.TRADE_DECISION_MADE, {"twice": -1})
    replay.run()
    assert strategy.calls[:2] == [("decision", -1), ("tick", 0)]
    assert next(iter(replay.output.read())).ts_ns == START_NS


def test_two_replays_agree_in_everything_but_the_object(log):
    def once(**options):
        replay = Replay(log, **options)
        Doubler(replay)
        return replay.run(), [event.event_id for event in replay.output.read()]

    first, first_ids = once()
    second, second_ids = once()
    assert isinstance(first, ReplayReport)
    assert first == second
    assert first_ids == second_ids
    assert len(set(first_ids)) == first.published == 10
    seeded, seeded_ids = once(seed="another")
    assert seeded.digest == first.digest
    assert not set(seeded_ids) & set(first_ids)
    shorter, _ = once(up_to=8)
    assert shorter.input_digest != first.input_digest
    assert shorter.digest == first.digest  # the last tick is odd: no decision


def test_the_digest_is_that_of_the_stored_decisions(log):
    replay = Replay(log)
    Doubler(replay)
    assert digest_of(()) == replay.digest
    report = replay.run()
    assert report.digest == replay.digest == digest_of(replay.output.read())
    assert len(report.digest) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"event_type": "order"},
        {"data": {"n": 2}},
        {"source": "b"},
        {"correlation_id": "c"},
        {"correlation_id": ""},
        {"aggregate_id": "a2"},
        {"aggregate_id": None},
        {"tags": {"k": "w"}},
        {"tags": {"kv": ""}},
        {"tags": {}},
        {"event_time_ns": 6},
        {"event_time_ns": None},
        {"schema_version": "1.1.0"},
    ],
)
def test_each_part_of_a_decision_counts_in_the_digest(change):
    same = {
        "event_type": "tick",
        "data": {"n": 1},
        "source": "a",
        "correlation_id": None,
        "aggregate_id": "a1",
        "tags": {"k": "v"},
        "event_time_ns": 5,
        "schema_version": "1.0.0",
    }

    def digest(**fields):
        log = Log(None)
        log.append(**fields)
        return digest_of(log.read())

    assert digest(**same) == digest(**same, event_id="x", causation_id="y")
    assert digest(**same) != digest(**same | change)


def test_the_order_of_tags_is_no_decision_but_the_order_of_events_is():
    log = Log(None)
    log.append(ORDER, {}, tags={"a": "1", "b": "2"})
    log.append(ORDER, {}, tags={"b": "2", "a": "1"})
    log.append(TICK, {})
    first, second, third = log.read()
    assert digest_of([first]) == digest_of([second])
    assert digest_of([first, third]) != digest_of([third, first])


def test_the_form_that_is_hashed_is_the_documented_one():
    """Worked out by hand here, so that a change of the form is noticed: it would make stored digests worthless."""
    import hashlib

    log = Log(None)
    log.append("x", {"a": 1}, correlation_id="c", tags={"k": "v"}, event_time_ns=7)
    form = (
        b"\x01\0\0\0x" + b"\x05\0\0\0" + b"1.0.0" + b"\0\0\0\0" + b"\xff\xff\xff\xff" + b"\x01\0\0\0c"
        b"\x01\0\0\0" + b"7" + b"\x0a\0\0\0" + b"\x01\0\0\0k" + b"\x01\0\0\0v" + b'\x07\0\0\0{"a":1}'
    )  # fmt: skip
    expected = hashlib.blake2b(form, digest_size=32, person=b"aresbus replay 1").hexdigest()
    assert digest_of(log.read()) == expected


def test_an_event_that_was_never_stored_has_no_digest():
    with pytest.raises(ValueError, match="never stored"):
        digest_of([Event(TICK, {})])


def test_a_log_at_a_path_keeps_what_was_published(log, tmp_path):
    with Replay(log, output=tmp_path / "out") as replay:
        Doubler(replay)
        report = replay.run()
    with pytest.raises(LogClosedError):
        replay.output.read()
    with aresbus.open(tmp_path / "out", mode="r") as kept:
        assert digest_of(kept.read()) == report.digest
        assert next(event.ts_ns for event in kept.read()) == START_NS


def test_an_output_with_events_and_the_replayed_log_itself_are_refused(tmp_path):
    write_ticks(tmp_path / "log").close()
    (tmp_path / "link").symlink_to(tmp_path / "log")
    write_ticks(tmp_path / "used").close()
    with aresbus.open(tmp_path / "log", mode="r") as log:
        for output, says in (("log", "never writes"), ("link", "never writes"), ("used", "holds events")):
            with pytest.raises(ConfigError, match=says):
                Replay(log, output=tmp_path / output)
    with aresbus.open(tmp_path / "used") as free_again:
        assert free_again.last_seq == 9


def test_a_failing_handler_stops_the_replay_behind_the_event(log, caplog):
    replay = Replay(log)
    before, after = Ticks(), Ticks()

    def fail(event):
        if event.data["n"] == 3:
            raise LookupError("three")

    for handler in (before, fail, after):
        replay.subscribe(TICK, handler)
    with pytest.raises(HandlerError, match="three") as raised:
        replay.run()
    assert raised.value.seq == replay.position == 3
    assert "fail" in raised.value.handler
    assert isinstance(raised.value.__cause__, LookupError)
    assert before == after == [0, 1, 2, 3]
    assert not caplog.records  # who raises it need not log it
    report = replay.run()
    assert after == list(range(10))
    assert (report.failed, report.delivered) == (1, 29)


def test_of_two_handlers_that_fail_on_one_event_one_is_raised_and_the_other_logged(log, caplog):
    replay = Replay(log)
    for word in ("one", "two"):
        replay.subscribe(TICK, lambda event, word=word: [][len(word)])
        replay.subscribe(TICK, lambda event, word=word: {}[word])
    with (
        caplog.at_level(logging.ERROR, logger="aresbus.replay"),
        pytest.raises(HandlerError, match="IndexError"),
    ):
        replay.run()
    assert len(caplog.records) == 3
    assert replay.report().failed == 4


@pytest.mark.parametrize("is_async", [False, True])
def test_told_to_go_on_it_counts_and_logs_failures(log, caplog, is_async):
    replay = Replay(log, on_error="go_on")

    def fail(event):
        raise LookupError(event.data["n"])

    async def fail_later(event):
        await asyncio.sleep(0)
        fail(event)

    replay.subscribe(TICK, fail_later if is_async else fail)
    with caplog.at_level(logging.ERROR, logger="aresbus.replay"):
        report = replay.run()
    assert (report.failed, report.delivered, report.is_finished) == (10, 0, True)
    assert any("LookupError(0)" in record.message for record in caplog.records)


def test_a_handler_that_awaits_something_cancelled_has_failed_itself(log, caplog):
    caplog.set_level(logging.CRITICAL)
    replay = Replay(log)

    async def fail(event):
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    replay.subscribe(TICK, fail)
    with pytest.raises(HandlerError, match="CancelledError"):
        replay.run()


def test_a_refused_publish_raises_where_it_is_awaited_and_is_counted_where_not(log, caplog):
    caplog.set_level(logging.CRITICAL)
    replay = Replay(log, up_to=1)
    errors = []

    async def publish(event):
        try:
            await replay.publish("nobody registered this", {})
        except aresbus.UnknownEventTypeError as error:
            errors.append(error)
        replay.publish(ORDER, {"no": object()})

    replay.subscribe(TICK, publish)
    report = replay.run()
    assert len(errors) == 2
    assert (report.refused, report.published) == (4, 0)


def test_an_unknown_type_and_a_handler_that_is_none_are_refused(log):
    replay = Replay(log)
    with pytest.raises(aresbus.UnknownEventTypeError, match="tock"):
        replay.subscribe("tock", print)
    with pytest.raises(TypeError, match="cannot be called"):
        replay.subscribe(TICK, None)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"speed": 0}, ValueError),
        ({"speed": -1.0}, ValueError),
        ({"speed": float("nan")}, ValueError),
        ({"speed": float("inf")}, ValueError),
        ({"speed": "fast"}, TypeError),
        ({"speed": True}, TypeError),
        ({"time": "never"}, ValueError),
        ({"on_error": "ignore"}, ValueError),
        ({"after": -1}, ValueError),
        ({"since": "yesterday"}, TypeError),
        ({"types": 7}, TypeError),
        ({"without": None}, TypeError),
    ],
)
def test_arguments_without_sense_are_refused_at_once(log, options, error):
    with pytest.raises(error):
        Replay(log, **options)


def test_recorded_decisions_do_not_meet_their_own_repetition(log):
    """The log of a live day holds what its strategy published; the strategy publishes it again."""
    cause = next(iter(log.read()))
    log.append(EventType.TRADE_DECISION_MADE, {"twice": 0}, causation_id=cause.event_id)

    def replay(**options):
        made = Replay(log, **options)
        strategy = Doubler(made)
        made.run()
        return [number for kind, number in strategy.calls if kind == "decision"]

    with pytest.raises(ConfigError, match="without='trade_decision_made'"):
        replay()
    again = [0, 4, 8, 12, 16]
    assert replay(without=EventType.TRADE_DECISION_MADE) == again
    assert replay(types=[TICK]) == again
    assert replay(types=[TICK, EventType.TRADE_DECISION_MADE]) == [*again, 0]


def test_a_recorded_decision_that_nobody_makes_again_is_delivered(log):
    log.append(EventType.TRADE_DECISION_MADE, {"twice": 0}, causation_id="x")
    replay = Replay(log)
    seen = []
    replay.subscribe(EventType.TRADE_DECISION_MADE, lambda event: seen.append(event.data))
    replay.run()
    assert seen == [{"twice": 0}]


def test_present_decides_what_handlers_get(log):
    manager = aresbus.EventVersionManager()
    source = Log(None)
    source.append(
        EventType.TRADE_EXECUTED, {"symbol": "B", "side": "buy", "quantity": 1, "price": 2}, event_id="t"
    )
    source.append(TICK, {"n": 1})

    def present(event):
        if event.event_type == TICK:
            return (event, event)  # a step that splits
        return (manager.migrate_event(event, "1.1.0"),)

    replay = Replay(source, present=present)
    trades, ticks = [], Ticks()
    replay.subscribe(EventType.TRADE_EXECUTED, trades.append)
    replay.subscribe(EventType.TRADE_EXECUTED, lambda event: replay.publish(ORDER, {}))
    replay.subscribe(TICK, ticks)
    report = replay.run()
    assert trades[0].data["order_id"] is None
    assert trades[0].is_replay
    assert ticks == [1, 1]
    assert next(iter(replay.output.read())).causation_id == "t"
    plain = Replay(source)
    assert plain.run().input_digest == report.input_digest


def test_onlookers_see_events_before_handlers_do(log):
    seen = []
    replay = Replay(
        log,
        up_to=0,
        on_taken=lambda event: seen.append(("taken", event.seq)),
        on_made=lambda event: seen.append(("made", str(event.event_type))),
    )
    replay.subscribe(TICK, lambda event: seen.append(("handled", event.seq)))
    Doubler(replay)
    replay.run()
    assert seen == [("taken", 0), ("handled", 0), ("made", "trade_decision_made"), ("made", "order")]


def test_a_replay_does_not_disturb_the_handler_that_started_it(log):
    """Started inside a live handler, the replay's first events have no cause in it; afterwards that is as it was."""

    async def scenario():
        bus = EnhancedEventBus({"event_bus": {"enable_persistence": False}}, strict=True)
        found = []

        async def start(event):
            replay = Replay(log, up_to=0)
            await replay.publish(ORDER, {"early": True})
            replay.subscribe(ORDER, lambda event: replay.publish(EventType.RISK_ALERT, {}))
            await replay.run_async()
            found.extend(one.causation_id for one in replay.output.read(types=EventType.RISK_ALERT))
            await bus.publish(EventType.SYSTEM_ERROR, {})

        bus.subscribe(TICK, start)
        await bus.publish(TICK, {})
        await bus.process_pending()
        tick, error = bus.event_history
        await bus.stop()
        return tick, error, found

    tick, error, found = run(scenario())
    assert error.causation_id == tick.event_id
    assert len(found) == 1
    assert found[0] != tick.event_id


def test_a_bus_and_a_replay_are_both_what_a_strategy_wants():
    def names(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    assert names(StrategyBus) == {"clock", "publish", "subscribe", "unsubscribe"}
    for name in names(StrategyBus) - {"clock"}:
        kinds = (EnhancedEventBus, Replay, StrategyBus)
        live, *others = (inspect.signature(getattr(kind, name)).parameters for kind in kinds)
        # A live subscription can be on terms that a replay has no use for; it says so.
        shared = [one for one in live if one in inspect.signature(getattr(StrategyBus, name)).parameters]
        required = [str(live[one]) for one in shared]
        for other in others:
            assert required == [str(one) for one in other.values() if one.kind is not one.VAR_KEYWORD], name


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"event_type": "*"}, [0, 1, 2, 3]),
        ({"event_type": "risk_*"}, [0, 2, 3]),
        ({"event_type": "risk_alert", "aggregate_id": "b"}, [2]),
        ({"event_type": "*", "tags": {"desk": "x"}}, [1, 3]),
        ({"event_type": "*", "where": lambda event: event.data > 1}, [2, 3]),
        ({"event_type": "risk_*", "aggregate_id": "a", "tags": {"desk": "x"}, "where": len}, []),
    ],
)
def test_a_choice_of_events_is_the_same_live_and_in_a_replay(tmp_path, choice, expected):
    choice = dict(choice)
    event_type = choice.pop("event_type")

    async def live():
        seen = Seen()
        async with make_bus(tmp_path, max_retry_count=0) as bus:
            bus.subscribe(event_type, seen, **choice)
            await bus.publish("risk_alert", 0, aggregate_id="a")
            await bus.publish("system_error", 1, aggregate_id="a", tags={"desk": "x"})
            await bus.publish("risk_alert", 2, aggregate_id="b", tags={"desk": "y"})
            await bus.publish("risk_alert", 3, aggregate_id="a", tags={"desk": "x", "more": ""})
            await settled(bus)
        return seen

    assert run(live()) == expected
    seen = Seen()
    with aresbus.open(tmp_path, mode="r") as log:
        replay = Replay(log, on_error="go_on")
        subscription = replay.subscribe(event_type, seen, **choice)
        report = replay.run()
    assert seen == expected
    assert subscription.event_type == event_type
    assert report.failed == (1 if choice.get("where") is len else 0)  # a predicate fails as its handler does
    replay.unsubscribe(event_type, seen)
    assert not subscription.is_active


def test_patterns_and_types_are_called_in_the_order_of_subscribing(log):
    order = []
    replay = Replay(log, up_to=0)
    for text, name in (("*", "a"), (TICK, "b"), (TICK[:2] + "*", "c"), ("*", "d")):
        replay.subscribe(text, lambda _, name=name: order.append(name))
    replay.run()
    assert order == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "terms",
    [
        {"name": "desk"}, {"after": "start"}, {"since": 0}, {"on_message": print}, {"ack": "manual"}, {"ack_timeout": 1.0},
        {"max_retries": 0}, {"back_off": (1.0, 1.0)}, {"key": id}, {"back_pressure": "block"}, {"max_lag": 1},
        {"unknown_versions": "halt"},
    ],
    ids=lambda terms: next(iter(terms)),
)  # fmt: skip
def test_terms_that_a_replay_cannot_keep_are_refused_with_the_reason(log, terms):
    replay = Replay(log)
    (name,) = terms
    with pytest.raises(aresbus.ConfigError) as raised:
        replay.subscribe(TICK, print, **terms)
    (problem,) = raised.value.problems
    assert problem.startswith(f"{name}: got ")
    assert replay.run().delivered == 0  # nobody is subscribed


def test_the_terms_are_those_of_a_live_subscription_and_defaults_change_nothing(log):
    live = inspect.signature(EnhancedEventBus.subscribe).parameters
    given = {name: one.default for name, one in live.items() if one.kind is one.KEYWORD_ONLY}
    assert Replay(log).subscribe(TICK, print, **given).is_active
    with pytest.raises(aresbus.ConfigError) as raised:
        Replay(log).subscribe(TICK, print, name="desk", max_lag=1)
    assert len(raised.value.problems) == 2
    with pytest.raises(TypeError, match="nmae"):
        Replay(log).subscribe(TICK, print, nmae="desk")
    with pytest.raises(TypeError, match="cannot be called"):
        Replay(log).subscribe(TICK, print, where=1)


def test_handlers_that_feed_each_other_for_ever_can_be_cancelled(log):
    async def scenario():
        replay = Replay(log)
        for kind in (TICK, ORDER):
            replay.subscribe(kind, lambda event: replay.publish(ORDER, {}))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await replay.run_async()
        assert replay.report().published > 1
        assert replay.position == 0

    run(scenario())


def test_an_event_loop_that_runs_already_is_not_nested(log):
    async def scenario():
        replay = Replay(log)
        for call in (replay.run, replay.step):
            with pytest.raises(BusStateError, match="_async"):
                call()

    run(scenario())
