"""Health: each check at its limit and over it, for a time where time counts; a change is logged once; a real bus."""

import errno
import json
import logging
import threading
from dataclasses import replace

import pytest
from aresbus.health import Health, HealthLimits
from aresbus.troubles import Troubles
from aresbus.vital_signs import DiskSpace, Moment, Signs, SubscriptionSigns, disk_space, signs_of
from bus_support import make_bus, run, until

MIB = 1 << 20
ROOM = DiskSpace(100 << 30, 200 << 30, 10**6, 10**7)
STATS = {
    "path": "/log",
    "durability": "interval",
    "last_seq": 9,
    "durable_seq": 9,
    "sync_count": 10,
    "sync_ns_total": 10 * 10**6,
    "sync_ns_max": 2 * 10**6,
    "segments": [{"used_bytes": 1000}],
    "problem": None,
}


def at(seconds: float, *, stepped: float = 0.0) -> Moment:
    ns = int(seconds * 1e9)
    return Moment(seconds, 10**18 + ns + int(stepped * 1e9), 10**12 + ns)


def signs(seconds: float = 0.0, *, stepped: float = 0.0, **facts) -> Signs:
    stats = STATS | {name: facts.pop(name) for name in list(facts) if name in STATS}
    known = {"log": stats, "disk": ROOM, "recovery": {"cut": None}} | facts
    return Signs(at(seconds, stepped=stepped), **known)


def subscription(
    name="on_trade", *, key=1, lag=0, busy_with=None, parked=0, halted_for=None
) -> SubscriptionSigns:
    return SubscriptionSigns(key, name, lag, busy_with, parked, halted_for)


@pytest.fixture
def health() -> Health:
    return Health(Troubles(logging.getLogger("aresbus.bus")))


def verdict(health: Health, name: str, *looks: Signs) -> tuple[str, str]:
    """Status and reason of one check after these looks; no other check may complain."""
    report = [health.check(one) for one in looks][-1]
    one = report.checks[name]
    assert report.status == one.status
    assert report.reasons == ([one.reason] if one.status != "healthy" else [])
    return one.status, one.reason


def test_a_bus_without_trouble_is_healthy_and_its_report_is_ready_for_json(health):
    report = health.check(signs())
    assert (report.status, report.reasons) == ("healthy", [])
    shape = json.loads(json.dumps(report.to_dict()))
    assert set(shape) == {"status", "checks", "reasons"}
    assert shape["checks"]["disk"] == {
        "status": "healthy",
        "reason": "",
        "value": ROOM.free_bytes,
        "limit": 1 << 30,
    }


def test_a_bus_that_was_never_opened_has_nothing_to_complain_of(health):
    assert health.check(Signs(at(0), is_running=False)).status == "healthy"


def test_the_worst_check_decides_and_stands_first(health):
    facts = {"poisoned": "fdatasync failed", "subscriptions": (subscription(parked=2),)}
    report = health.check(signs(**facts))
    assert report.status == "unhealthy"
    assert report.reasons == [
        "the log takes no appends: fdatasync failed",
        "deliveries are parked: on_trade (2)",
    ]


@pytest.mark.parametrize(
    ("facts", "name", "status", "says"),
    [
        ({"poisoned": "EIO"}, "log", "unhealthy", "EIO"),
        ({"problem": "no spare: disk full"}, "log", "degraded", "no spare"),
        ({"disk": replace(ROOM, free_bytes=(1 << 30) - 1)}, "disk", "degraded", "1,024 MiB free"),
        ({"disk": replace(ROOM, free_bytes=128 * MIB - 1)}, "disk", "unhealthy", "nearly full"),
        ({"disk": replace(ROOM, free_bytes=1 << 30)}, "disk", "healthy", ""),
        ({"disk": replace(ROOM, free_inodes=10)}, "disk", "degraded", "10 more files"),
        ({"disk": replace(ROOM, free_inodes=0, total_inodes=0)}, "disk", "healthy", ""),
        ({"disk": OSError(errno.ENOENT, "No such file", "/log")}, "disk", "unhealthy", "/log"),
        ({"held_for": (1.5, "on_trade")}, "loop", "degraded", "1.5 s"),
        ({"subscriptions": (subscription(parked=1),)}, "parked", "degraded", "on_trade (1)"),
        ({"is_running": False}, "run", "healthy", ""),
        ({"sync_ns_max": 3 * 10**9}, "sync", "degraded", "3.0 s"),
        ({"last_error": "[AB0002] full", "last_error_at": -1.0}, "errors", "degraded", "AB0002"),
        ({"last_error": "[AB0002] full", "last_error_at": -301.0}, "errors", "healthy", ""),
    ],
)
def test_one_look_is_enough_for(health, facts, name, status, says):
    found, reason = verdict(health, name, signs(**facts))
    assert found == status
    assert says in reason


def test_a_cut_at_the_opening_is_told(health):
    cut = {"next_seq": 17, "reason": "bad checksum", "quarantined_bytes": 96}
    status, reason = verdict(health, "recovery", signs(recovery={"cut": cut}))
    assert status == "degraded"
    assert "seq 17" in reason
    assert "96 bytes" in reason
    nothing_lost = cut | {"quarantined_bytes": 0}
    assert verdict(health, "recovery", signs(recovery={"cut": nothing_lost}))[0] == "healthy"


def test_a_lag_counts_only_if_it_lasts_and_names_who_lags(health):
    late = (subscription("slow", key=1, lag=10_001), subscription("fast", key=2, lag=10_000))
    assert verdict(health, "lag", signs(0, subscriptions=late))[0] == "healthy"
    assert verdict(health, "lag", signs(60, subscriptions=late))[0] == "healthy"
    status, reason = verdict(health, "lag", signs(61, subscriptions=late))
    assert status == "degraded"
    assert "slow" in reason
    assert "fast" not in reason
    assert verdict(health, "lag", signs(62, subscriptions=(subscription("slow", lag=3),)))[0] == "healthy"
    assert verdict(health, "lag", signs(63, subscriptions=late))[0] == "healthy"  # it begins anew


def test_a_handler_is_stuck_on_one_event_not_busy_with_many(health):
    busy = [signs(when, subscriptions=(subscription(busy_with=seq),)) for when, seq in ((0, 5), (61, 6))]
    assert verdict(health, "handlers", *busy)[0] == "healthy"
    status, reason = verdict(health, "handlers", signs(122, subscriptions=(subscription(busy_with=6),)))
    assert (status, reason) == ("degraded", "on_trade is busy with one event for 61 s")


def test_a_halted_subscription_hides_no_stuck_handler(health):
    both = (subscription("still", key=1, halted_for="closed"), subscription("slow", key=2, busy_with=5))
    looks = [signs(when, subscriptions=both) for when in (0, 61)]
    status, reason = verdict(health, "handlers", *looks)
    assert status == "degraded"
    assert (
        reason == "halted until somebody resumes them: still (closed); slow is busy with one event for 61 s"
    )


def test_many_culprits_are_counted_not_listed(health):
    parked = tuple(subscription(f"handler{n}", key=n, parked=1) for n in range(10))
    _, reason = verdict(health, "parked", signs(subscriptions=parked))
    assert reason.endswith("handler2 (1) and 7 more")


def test_durability_is_stuck_when_the_durable_position_stands_while_events_wait(health):
    waiting = [signs(when, last_seq=50 + when, durable_seq=40) for when in range(6)]
    assert verdict(health, "durability", *waiting)[0] == "healthy"
    status, reason = verdict(health, "durability", signs(6, last_seq=60, durable_seq=40))
    assert (status, reason) == ("degraded", "20 events are not durable, and nothing became durable for 6 s")
    assert verdict(health, "durability", signs(51, last_seq=60, durable_seq=40))[0] == "unhealthy"
    assert verdict(health, "durability", signs(52, last_seq=90, durable_seq=41))[0] == "healthy"


def test_durability_of_a_first_event_that_never_gets_to_the_disk_is_noticed(health):
    first = {"last_seq": 0, "durable_seq": None}
    assert verdict(health, "durability", signs(0, **first), signs(6, **first))[0] == "degraded"


@pytest.mark.parametrize("facts", [{"durability": "none"}, {"path": None}])
def test_where_durability_is_not_asked_for_none_is_missed(health, facts):
    looks = [signs(when, last_seq=50, durable_seq=None, disk=None, **facts) for when in (0, 100)]
    assert verdict(health, "durability", *looks)[0] == "healthy"


def test_slow_syncs_are_noticed_by_their_mean_and_shown_for_a_while(health):
    # An old maximum hides single syncs below it; their mean does not hide.
    verdict(health, "sync", signs(0, sync_ns_max=5 * 10**9))
    assert verdict(health, "sync", signs(301, sync_ns_max=5 * 10**9))[0] == "healthy"
    slow = {"sync_count": 12, "sync_ns_total": 10 * 10**6 + 4 * 10**9, "sync_ns_max": 5 * 10**9}
    assert verdict(health, "sync", signs(302, **slow)) == ("degraded", "a sync of the disk took 2.0 s")
    assert verdict(health, "sync", signs(602, **slow))[0] == "degraded"
    assert verdict(health, "sync", signs(603, **slow))[0] == "healthy"


def test_a_log_that_was_opened_anew_counts_its_syncs_anew(health):
    anew = {"sync_count": 1, "sync_ns_total": 10**6, "sync_ns_max": 10**6}
    assert verdict(health, "sync", signs(0), signs(1, **anew))[0] == "healthy"


def test_the_days_a_disk_lasts_follow_the_net_growth_of_the_log(health):
    def looks(per_second: int):
        return [
            signs(when, disk=replace(ROOM, free_bytes=2 << 30), segments=[{"used_bytes": when * per_second}])
            for when in (0, 59, 60)
        ]

    first, early, late = looks(100 * 1024)
    assert verdict(health, "disk", first, early)[0] == "healthy"
    status, reason = verdict(health, "disk", late)
    assert (status, reason) == (
        "degraded",
        "the disk is full in 0.2 days if the log grows as it did of late",
    )
    assert verdict(Health(Troubles(logging.getLogger("x"))), "disk", *looks(1024))[0] == "healthy"
    shrinking = [replace(one, moment=at(when)) for when, one in ((0, late), (60, first))]
    assert verdict(Health(Troubles(logging.getLogger("x"))), "disk", *shrinking)[0] == "healthy"


def test_a_step_of_the_wall_clock_is_told_for_a_while_and_slewing_is_not(health):
    slewed = [signs(when, stepped=when * 0.0005) for when in (0, 600, 1_200)]
    assert verdict(health, "clock", *slewed)[0] == "healthy"
    status, reason = verdict(health, "clock", signs(1_201, stepped=-1.4))
    assert (status, reason) == ("degraded", "the wall clock stepped by -2.000 s")
    assert verdict(health, "clock", signs(1_500, stepped=-1.4))[0] == "degraded"
    assert verdict(health, "clock", signs(1_502, stepped=-1.4))[0] == "healthy"


def test_an_hour_of_clock_is_told_for_good(health):
    assert verdict(health, "clock", signs(0), signs(10, stepped=3_601))[0] == "degraded"
    assert verdict(health, "clock", signs(10_000, stepped=3_601))[0] == "degraded"
    assert verdict(health, "clock", signs(10_001, stepped=0), signs(20_000, stepped=0))[0] == "healthy"


def test_the_clocks_of_this_machine_agree_from_one_moment_to_the_next(health):
    looks = [Signs(Moment.now()) for _ in range(200)]
    assert verdict(health, "clock", *looks)[0] == "healthy"


def test_a_run_that_ended_is_unhealthy_and_one_that_never_began_is_not(health):
    assert verdict(health, "run", signs(is_running=False))[0] == "healthy"
    looks = [signs(0, is_running=True), signs(9, is_running=None), signs(10, is_running=False)]
    assert verdict(health, "run", *looks)[0] == "healthy"  # perhaps it is being stopped
    ended = signs(11.5, is_running=False)
    assert verdict(health, "run", ended) == ("unhealthy", "run() has ended, and nothing is delivered")
    assert health.check(Signs(at(12), is_running=False)).status == "healthy"  # stopped: the log is closed


def test_a_change_is_logged_once_with_its_fields(health, caplog):
    caplog.set_level(logging.INFO, "aresbus.bus")
    for when in range(5):
        health.check(signs(when, held_for=(2.0, "on_trade") if 1 <= when <= 3 else None))
    began, over = caplog.records
    assert (began.levelno, over.levelno) == (logging.WARNING, logging.INFO)
    assert (
        began.getMessage()
        == "health: loop is degraded: the loop is held for 2.0 s and more; handler entered last: on_trade"
    )
    assert began.aresbus["kind"] == "health loop"
    assert (began.aresbus["check"], began.aresbus["status"], began.aresbus["previous"]) == (
        "loop",
        "degraded",
        "healthy",
    )
    assert began.aresbus["value"] == 2.0
    assert "no longer: the loop is held" in over.getMessage()


def test_a_check_that_flaps_does_not_flood_the_log(health, caplog):
    caplog.set_level(logging.INFO, "aresbus.bus")
    for when in range(1_000):
        health.check(signs(when, held_for=(2.0, "on_trade") if when % 2 else None))
    assert 2 <= len(caplog.records) < 20


def test_limits_are_the_users(caplog):
    limits = HealthLimits(parked=5, lag_events=1, lag_seconds=0)
    health = Health(Troubles(logging.getLogger("aresbus.bus")), limits)
    facts = {"subscriptions": (subscription(parked=5, lag=2),)}
    assert verdict(health, "lag", signs(0, **facts), signs(1, **facts))[0] == "degraded"


def test_threads_may_look_at_once(health):
    failures = []

    def look():
        try:
            for when in range(300):
                health.check(signs(when, subscriptions=(subscription(lag=20_000, busy_with=when),)))
        except Exception as error:  # noqa: BLE001 - the subject
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# On a real bus.


def test_a_real_bus_is_healthy_and_its_parked_delivery_degrades_it(tmp_path, caplog):
    async def act():
        async with make_bus(tmp_path, max_retry_count=0, processing_interval=0.01) as bus:

            def fail(event):
                raise RuntimeError("no")

            subscription = bus.subscribe("risk_alert", fail)
            assert bus._house.check_health(is_running=True).reasons == []
            await bus.publish("risk_alert", {})
            await until(lambda: subscription.parked_count)
            report = bus._house.check_health(is_running=True)
            assert report.status == "degraded"
            assert report.checks["parked"].value == 1
            assert "fail" in report.checks["parked"].reason
            subscription.drop_parked()
            assert bus._house.check_health().checks["parked"].status == "healthy"

    run(act())


def test_the_timed_check_logs_what_nobody_asked_for(tmp_path, caplog):
    async def act():
        settings = {"processing_interval": 0.005, "health_check_interval": 0.001, "max_retry_count": 0}
        async with make_bus(tmp_path, **settings) as bus:
            bus.subscribe("risk_alert", lambda event: 1 / 0)
            await bus.publish("risk_alert", {})
            await until(lambda: "health: parked is degraded" in caplog.text)

    run(act())


def test_the_signs_of_a_real_bus_say_who_is_behind_and_busy(tmp_path):
    import asyncio

    async def act():
        async with make_bus(tmp_path) as bus:
            gate = asyncio.Event()

            async def wait(event):
                await gate.wait()

            bus.subscribe("risk_alert", wait)
            for number in range(5):
                await bus.publish("risk_alert", number)
            await until(lambda: bus.subscriptions[0].current is not None)
            found = signs_of(bus._delivery, disk=disk_space(tmp_path))
            (one,) = found.subscriptions
            assert (one.lag, one.busy_with, one.parked) == (5, 0, 0)
            assert one.name.endswith("wait")
            assert found.log["appended"] == 5
            assert found.disk.free_bytes > 0
            gate.set()
            await until(bus.event_queue.empty)
            assert signs_of(bus._delivery).subscriptions[0].busy_with is None

    run(act())


def test_a_stopped_bus_gives_no_signs_of_its_log(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        await bus.initialize()
        await bus.stop()
        return signs_of(bus._delivery, disk=disk_space(tmp_path)), bus._house.check_health(is_running=False)

    found, report = run(act())
    assert (found.log, found.recovery, found.disk) == (None, None, None)
    assert report.status == "healthy"


def test_a_folder_that_is_gone_is_unhealthy_and_fails_nothing(tmp_path, caplog):
    async def act():
        folder = tmp_path / "log"
        settings = {"processing_interval": 0.005, "health_check_interval": 0.001, "enable_snapshots": False}
        async with make_bus(folder, audit_trail=False, **settings) as bus:
            folder.rename(tmp_path / "elsewhere")
            await until(lambda: "health: disk is unhealthy" in caplog.text)
            (tmp_path / "elsewhere").rename(folder)
            await until(lambda: bus._house.check_health().status == "healthy")

    run(act())
