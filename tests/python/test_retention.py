"""Retention: what goes from the front of a log, what keeps it, what stays of it, and who hears of it."""

import asyncio
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import aresbus
import orjson
import pytest
from aresbus import (
    ConfigError,
    CorruptionError,
    EnhancedEventBus,
    ManualClock,
    RetentionPolicy,
    TruncatedError,
    VersionConflictError,
)
from aresbus.cli import main
from aresbus.expiry import Expiry
from aresbus.health import Health
from aresbus.subscriptions import Anchor, Lost
from aresbus.subscriptions.checkpoints import SubscriptionLog, names_in
from aresbus.testing import settled
from aresbus.troubles import Troubles
from aresbus.vital_signs import Moment, Signs
from bus_support import run, until

DAY_NS = 86_400 * 10**9
NOW_NS = 1_723_161_255_000_000_000
SEGMENT_BYTES = 65_536
DAYS = RetentionPolicy(max_age_days=30)


def opened(folder, clock=None, **options):
    return aresbus.open(folder, segment_bytes=SEGMENT_BYTES, clock=clock or ManualClock(NOW_NS), **options)


def filled(log, count=400, aggregate=lambda n: f"order-{n % 7}", event_type="tick"):
    """About ``count`` / 70 segments of events."""
    for n in range(count):
        log.append(event_type, {"n": n, "pad": "x" * 800}, aggregate_id=aggregate(n))


def sealed(log, least=2):
    """Wait until so many segments, and all but the last, are sealed."""

    def is_sealed():
        segments = log.stats()["segments"]
        return len(segments) > least and all(one["is_sealed"] for one in segments[:-1])

    log.sync()
    for _ in range(2_000):
        if is_sealed():
            return
        log.wait(log.last_seq, 0.01)
    raise AssertionError(log.stats()["segments"])


def drained(log, policy):
    """Passes until nothing goes any more."""
    passes = []
    while (report := log.apply_retention(log.retention_plan(policy)))["segments"]:
        passes.append(report)
    return passes


@pytest.fixture
def clock():
    return ManualClock(NOW_NS)


def test_segments_go_by_age_from_the_moment_they_were_left(tmp_path, clock):
    with opened(tmp_path, clock) as log:
        filled(log)
        sealed(log)
        assert not log.retention_plan(DAYS).drops
        clock.advance_ns(30 * DAY_NS - 1)
        assert not log.retention_plan(DAYS).drops
        clock.advance_ns(1)
        plan = log.retention_plan(DAYS)
        assert [one.number for one in plan.drops] == [1]
        assert [bool(one.expired) for one in plan.segments] == [True] * (len(plan.segments) - 1) + [False]
        assert plan.segments[1].reason.startswith("one segment in ten")
        assert plan.segments[-1].reason == "it has not expired"
        before = log.stats()
        report = log.apply_retention(plan)
        assert report["segments"] == [1]
        assert report["first_seq"] == plan.keeps_from == log.first_seq == before["segments"][1]["first_seq"]
        assert report["event_count"] == plan.event_count == log.first_seq
        assert report["file_bytes"] == plan.file_bytes == before["segments"][0]["file_bytes"]
        drained(log, DAYS)
        assert len(log.stats()["segments"]) == 1
        assert not log.verify()["findings"]


def test_segments_go_by_bytes_and_by_events(tmp_path):
    with opened(tmp_path) as log:
        filled(log, 800)
        sealed(log)
        segments = log.stats()["segments"]
        drained(log, RetentionPolicy(max_events=500))
        assert log.last_seq + 1 - log.first_seq >= 500
        assert log.last_seq + 1 - log.stats()["segments"][1]["first_seq"] < 500
        most = sum(one["file_bytes"] for one in segments[-3:])
        drained(log, RetentionPolicy(max_bytes=most))
        assert sum(one["file_bytes"] for one in log.stats()["segments"]) <= most
        assert len(log.stats()["segments"]) == 3
        assert log.retention_plan(RetentionPolicy()).drops == ()
        assert RetentionPolicy(max_age_days=0).is_endless


def test_a_policy_that_cannot_be_meant_is_refused():
    with pytest.raises(ConfigError) as caught:
        RetentionPolicy(max_bytes=-1, max_age_days=True, unreduced="perhaps")
    assert len(caught.value.problems) == 3


def test_versions_go_on_and_a_part_is_never_given_for_the_whole(tmp_path, clock):
    with opened(tmp_path, clock) as log:
        log.append("opened", {}, aggregate_id="order-gone")
        filled(log)
        sealed(log)
        clock.advance_ns(31 * DAY_NS)
        drained(log, DAYS)
        version = log.aggregate_version("order-3")
    with opened(tmp_path, clock) as log:
        assert (log.aggregate_version("order-gone"), log.aggregate_version("order-3")) == (0, version)
        with pytest.raises(VersionConflictError) as caught:
            log.append("opened", {}, aggregate_id="order-gone", expected_version=aresbus.Expected.NONE)
        assert (caught.value.actual, caught.value.conflicting_seq) == (0, 0)
        assert log.append("filled", {}, aggregate_id="order-gone", expected_version=0).aggregate_version == 1
        for direction in ("forward", "backward"):
            with pytest.raises(TruncatedError) as short:
                list(log.read(aggregate_id="order-3", direction=direction))
            assert short.value.first_seq == log.first_seq
        with pytest.raises(TruncatedError):
            aresbus.rebuild(log, "order-3", aresbus.Reducers())
        with pytest.raises(TruncatedError):
            list(log.read(after=3))
        assert next(log.read()).seq == log.first_seq
        newest = next(log.read(aggregate_id="order-3", direction="backward", limit=1))
        assert newest.aggregate_version == version


def test_a_hold_keeps_what_matches_until_it_is_released(tmp_path, clock):
    with opened(tmp_path, clock) as log:
        filled(log)
        log.append("trade_executed", {"n": -1}, aggregate_id="suspect", tags={"desk": "A"})
        suspect = log.last_seq
        filled(log)
        sealed(log)
        made = log.hold(
            "case 17", {"types": "trade_*", "tags": {"desk": "A"}, "since": NOW_NS}, "letter of the court"
        )
        assert log.holds == (made,)
        clock.advance_ns(31 * DAY_NS)
        drained(log, DAYS)
        plan = log.retention_plan(DAYS)
        first = plan.segments[0]
        assert first.first_seq <= suspect <= first.last_seq
        assert [(pin.kind, pin.name) for pin in plan.pins] == [("hold", "case 17")]
        assert "letter of the court" in first.reason
        assert plan.segments[1].reason == f"it lies behind segment {first.number}, which stays"
    with opened(tmp_path, clock) as log:
        assert not drained(log, DAYS)
        with pytest.raises(ConfigError, match="is there already"):
            log.hold("case 17", {}, "again")
        with pytest.raises(ConfigError, match="no hold 'case 18'"):
            log.release("case 18")
        assert log.release("case 17") == made
        assert drained(log, DAYS)
        assert log.first_seq > suspect


def test_a_hold_of_everything_and_a_wrong_one(tmp_path, clock):
    with opened(tmp_path, clock) as log:
        filled(log, 200)
        sealed(log)
        log.hold("all", {}, "audit")
        clock.advance_ns(31 * DAY_NS)
        assert not drained(log, DAYS)
        with pytest.raises(ConfigError) as caught:
            log.hold("", {"type": "x", "since": "today", "tags": 3, "up_to": -1, "time": "never"}, "")
        assert len(caught.value.problems) == 7
    with aresbus.Log(None) as memory, pytest.raises(ConfigError, match="in memory"):
        memory.hold("x", {}, "why")


def test_holds_that_cannot_be_read_hold_everything(tmp_path, clock):
    with opened(tmp_path, clock) as log:
        filled(log, 200)
        sealed(log)
        log.hold("x", {"aggregate_id": "nobody"}, "why")
        clock.advance_ns(31 * DAY_NS)
        plan = log.retention_plan(DAYS)
        path = tmp_path / "holds" / "holds.json"
        whole = path.read_bytes()
        for damaged in (whole.replace(b"nobody", b"no1ody"), whole[:-1], b"[]", b""):
            path.write_bytes(damaged)
            with pytest.raises(CorruptionError):
                log.apply_retention(plan)
        body = orjson.loads(whole)
        assert body["log_id"] == log.log_id
        path.write_bytes(whole)
        assert log.apply_retention(plan)["segments"] == [1]


def test_a_hold_made_after_the_plan_counts(tmp_path, clock):
    with opened(tmp_path, clock) as log:
        filled(log, 200)
        sealed(log)
        clock.advance_ns(31 * DAY_NS)
        plan = log.retention_plan(DAYS)
        with aresbus.open(tmp_path, mode="r") as beside:
            beside.hold("late", {"up_to": 0}, "a second before")
        assert log.apply_retention(plan)["segments"] == []
        assert log.first_seq == 0


def test_what_is_done_is_on_record(tmp_path, clock):
    with opened(tmp_path, clock) as log:
        filled(log, 200)
        sealed(log)
        log.hold("x", {"aggregate_id": "nobody"}, "for the record")
        log.release("x", reason="done with it")
        clock.advance_ns(31 * DAY_NS)
        report = log.apply_retention(log.retention_plan(DAYS), reason="spring cleaning")
        assert log.apply_retention(log.retention_plan(RetentionPolicy()))["segments"] == []
    acts = {one.name: one for one in aresbus.read_acts(tmp_path)}
    assert acts["retention.hold"].actor["reason"] == "for the record"
    assert acts["retention.release"].actor["reason"] == "done with it"
    applied = acts["retention.apply"]
    assert (applied.outcome, applied.actor["reason"]) == ("done", "spring cleaning")
    assert applied.result == report
    assert applied.details["keeps_from"] == report["first_seq"]
    assert len([one for one in aresbus.read_acts(tmp_path) if one.name == "retention.apply"]) == 1


def ticks(clock, folder, **options):
    config = {"processing_interval": 0.01, "health_check_interval": 0.01, **options.pop("config", {})}
    section = {"storage_path": str(folder), **config}
    return EnhancedEventBus(
        {"event_bus": section},
        strict=True,
        clock=clock,
        log_options={"segment_bytes": SEGMENT_BYTES},
        **options,
    )


async def published(bus, count=400, aggregate=lambda n: f"order-{n % 7}", event_type="risk_alert"):
    for n in range(count):
        await bus.publish(event_type, {"n": n, "pad": "x" * 800}, aggregate_id=aggregate(n))
    await asyncio.to_thread(sealed, bus.log)


def test_event_ttl_days_lets_events_expire_by_itself(tmp_path, clock):
    async def act():
        async with ticks(clock, tmp_path) as bus:
            await published(bus)
            assert bus.log.first_seq == 0
            clock.advance_ns(31 * DAY_NS)
            await until(lambda: len(bus.log.stats()["segments"]) == 1)
            await until(lambda: bus.get_status()["retention"]["events_expired"] == bus.log.first_seq)
            status = bus.get_status()["retention"]
            assert status["segments_dropped"] > 3
            assert not status["problem"]
        for keeps in (0, None):
            async with ticks(clock, tmp_path / str(keeps), config={"event_ttl_days": keeps}) as bus:
                await published(bus, 200)
                clock.advance_ns(400 * DAY_NS)
                passes = bus.get_metrics()["health_checks"]
                await until(lambda bus=bus, passes=passes: bus.get_metrics()["health_checks"] > passes + 3)
                assert bus.log.first_seq == 0

    run(act())


def test_a_state_outlives_its_events(tmp_path, clock):
    def count(state, event):
        state["count"] = state.get("count", 0) + 1

    async def act():
        async with ticks(clock, tmp_path, config={"enable_snapshots": False}) as bus:
            bus.register_reducer("risk_alert", count)
            await published(bus)
            before = {f"order-{n}": await bus.rebuild_from_events(f"order-{n}") for n in range(7)}
            clock.advance_ns(31 * DAY_NS)
            await until(lambda: len(bus.log.stats()["segments"]) == 1)
            for aggregate_id, state in before.items():
                assert await bus.rebuild_from_events(aggregate_id) == state
        async with ticks(clock, tmp_path) as bus:
            bus.register_reducer("risk_alert", count)
            for aggregate_id, state in before.items():
                assert await bus.rebuild_from_events(aggregate_id) == state
            await bus.publish("risk_alert", {}, aggregate_id="order-3")
            assert (await bus.rebuild_from_events("order-3"))["count"] == before["order-3"]["count"] + 1
            with pytest.raises(TruncatedError):
                await bus.rebuild_from_events("order-3", target_sequence=20)

    run(act())


def test_a_state_that_cannot_be_folded_keeps_its_events_and_is_named(tmp_path, clock):
    def broken(state, event):
        raise RuntimeError("no way")

    async def act():
        async with ticks(clock, tmp_path) as bus:
            bus.register_reducer("risk_alert", broken)
            await published(bus)
            clock.advance_ns(31 * DAY_NS)
            await until(lambda: bus.get_status()["retention"]["pins"])
            plan = await bus.retention_plan()
            assert {pin.kind for pin in plan.pins} == {"snapshot"}
            assert {pin.name for pin in plan.pins} == {f"order-{n}" for n in range(7)}
            assert bus.log.first_seq == 0
            bus.register_reducer("risk_alert", lambda state, event: {"n": event.data["n"]}, version=2)
            await until(lambda: bus.log.first_seq > 0)

    run(act())


def test_aggregates_without_reducer_expire_unless_told_otherwise(tmp_path, clock):
    async def act():
        policy = RetentionPolicy(unreduced="keep")
        async with ticks(clock, tmp_path, retention=policy) as bus:
            await published(bus)
            clock.advance_ns(31 * DAY_NS)
            plan = await bus.retention_plan()
            assert {pin.kind for pin in plan.pins} == {"aggregate"}
            assert await bus.apply_retention() is None
        async with ticks(clock, tmp_path) as bus:
            await until(lambda: bus.log.first_seq > 0)

    run(act())


def test_a_durable_subscription_keeps_what_it_has_not_passed_for_a_while(tmp_path, clock):
    async def act():
        messages = []
        async with ticks(clock, tmp_path) as bus:
            bus.subscribe("risk_alert", lambda event: None, name="desk", after="start")
            await bus.publish("risk_alert", {})
            await settled(bus)
        with opened(tmp_path, clock) as log:
            filled(log, 400, event_type="risk_alert")
            sealed(log)
            clock.advance_ns(31 * DAY_NS)
            plan = log.retention_plan(DAYS)
            assert not plan.drops
            assert [(pin.kind, pin.name) for pin in plan.pins] == [("subscription", "desk")]
            assert log.retention_plan(RetentionPolicy(max_age_days=30, lag_bytes=1000)).drops
            assert log.retention_plan(RetentionPolicy(max_age_days=30, lag_days=0.5)).drops
            clock.advance_ns(7 * DAY_NS)
            assert log.retention_plan(DAYS).drops
            assert not log.retention_plan(RetentionPolicy(max_age_days=30, lag_days=None)).drops
            drained(log, DAYS)
            first, last = log.first_seq, log.last_seq
        async with ticks(clock, tmp_path) as bus:
            seen = []
            bus.subscribe(
                "risk_alert", lambda event: seen.append(event.seq), name="desk", on_message=messages.append
            )
            await settled(bus)
            await until(lambda: seen and seen[-1] == last)
            assert seen == list(range(first, last + 1))
            assert [one for one in messages if isinstance(one, Lost)] == [Lost(1, first)]

    run(act())


def test_a_clock_that_was_set_lets_nothing_go(tmp_path, clock):
    moments = [Moment(0.0, NOW_NS, 0)]

    async def act():
        async with ticks(clock, tmp_path) as bus:
            await published(bus)
            house = bus._house
            expiry = Expiry(
                DAYS, bus._snapshots, bus._counters, bus._troubles, bus.clock, moment=lambda: moments[0]
            )
            bus._expiry = house._expiry = expiry
            moments[0] = Moment(1.0, NOW_NS + 2 * 3_600 * 10**9, 10**9)
            clock.advance_ns(31 * DAY_NS)
            await until(lambda: expiry.problem)
            plan = await bus.retention_plan()
            assert not plan.drops
            assert "the wall clock moved by +7199 s" in plan.paused
            assert all(one.reason == plan.paused for one in plan.segments if one.expired)
            assert await bus.apply_retention() is None
            report = bus.check_health()
            assert report.checks["retention"].status == "degraded"
            assert "paused" in report.checks["retention"].reason
            moments[0] = Moment(2.0, NOW_NS + 2 * 10**9, 2 * 10**9)
            await until(lambda: len(bus.log.stats()["segments"]) == 1)
            await until(lambda: not expiry.problem)

    run(act())


READER = textwrap.dedent(
    """
    import sys
    import aresbus

    log = aresbus.open(sys.argv[1], mode="r", audit=False)
    events = iter(log.read())
    print(next(events).seq, flush=True)
    input()
    seen = 1
    try:
        for event in events:
            seen += 1
        print("whole", seen)
    except aresbus.TruncatedError as error:
        print("truncated", error.first_seq, seen)
    print(next(log.read()).seq, log.aggregate_version("order-gone"), log.last_seq)
    """
)


def test_a_reader_in_another_process_finishes_its_segment_and_hears_of_the_rest(tmp_path, clock):
    with opened(tmp_path, clock) as log:
        log.append("opened", {}, aggregate_id="order-gone")
        filled(log)
        sealed(log)
        second = log.stats()["segments"][1]["first_seq"]
        child = subprocess.Popen(
            [sys.executable, "-c", READER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout.readline().strip() == "0"
        clock.advance_ns(31 * DAY_NS)
        drained(log, DAYS)
        out, _ = child.communicate("\n", timeout=60)
        first, second_line = out.strip().splitlines()
        word, first_seq, seen = first.split()
        assert (word, int(first_seq)) == ("truncated", log.first_seq)
        assert int(seen) >= second
        assert second_line == f"{log.first_seq} 0 {log.last_seq}"


def test_the_memory_of_a_subscription_stays_small_and_forgets_nothing(tmp_path):
    with opened(tmp_path) as log:
        for n in range(10):
            log.append("tick", {"n": n})
        memory = SubscriptionLog(log, "desk")
        for n in range(25_000):
            memory.advance(Anchor(1, n, "x" * 60))
        memory.close()
        for _ in range(50):
            memory = SubscriptionLog(log, "desk")
            assert memory.checkpoint == Anchor(1, 24_999, "x" * 60)
            stats = memory._log.stats()
            memory._log.wait(memory._log.last_seq, 0.05)
            memory.close()
            if len(stats["segments"]) < 4:
                break
        assert len(stats["segments"]) < 4
        assert stats["first_seq"] > 0
        assert list(names_in(str(tmp_path))) == ["desk"]


def test_the_command_line_plans_applies_and_holds(tmp_path, clock, capsys):
    with opened(tmp_path, clock) as log:
        filled(log)
        sealed(log)
        first = log.stats()["segments"][1]["first_seq"]
    folder = str(tmp_path)
    assert (
        main(["hold", "add", folder, "case", "--reason", "court", "--up-to", "0", "--aggregate", "order-0"])
        == 0
    )
    assert main(["hold", "list", folder]) == 0
    out = capsys.readouterr().out
    assert "case" in out
    assert "court" in out
    assert main(["retention", "plan", folder, "--events", "10"]) == 0
    assert "the hold 'case' keeps events of it: court" in capsys.readouterr().out
    assert main(["retention", "apply", folder, "--events", "10"]) == 0
    assert capsys.readouterr().out.startswith("0 segments dropped")
    assert main(["hold", "release", folder, "case", "--reason", "over"]) == 0
    assert main(["hold", "release", folder, "case"]) == 2
    assert main(["retention", "apply", folder, "--events", "10", "--reason", "room"]) == 0
    assert f"the log begins with event {first}" in capsys.readouterr().out
    assert main(["retention", "plan", folder, "--days", "30", "--json"]) == 0
    plan = orjson.loads(capsys.readouterr().out)
    assert plan["first_seq"] == first
    assert [one.name for one in aresbus.read_acts(tmp_path) if one.name.startswith("retention")] == [
        "retention.hold",
        "retention.release",
        "retention.release",
        "retention.apply",
    ]


def test_health_says_why_nothing_expires():
    health = Health(Troubles(logging.getLogger("test")))
    report = health.check(Signs(moment=Moment.now(), retention="retention is paused: why"))
    assert (report.status, report.reasons) == ("degraded", ["retention is paused: why"])


def test_a_log_in_memory_has_its_own_bound():
    with aresbus.Log(None, memory_bytes=262_144) as log:
        filled(log, 600)
        plan = log.retention_plan(RetentionPolicy(max_events=1))
        assert not plan.drops
        assert log.apply_retention(plan)["segments"] == []
        assert not Path("holds").exists()
