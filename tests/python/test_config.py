"""Configuration: every key has an effect that can be seen or stands in NOT_YET; faults are listed all at once."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable

import aresbus
import pytest
from aresbus import BusConfig, ConfigError, EnhancedEventBus, ManualClock, get_event_bus_config
from aresbus.config import NOT_YET, parse_config
from bus_support import Seen, make_bus, run, until

KEYS = [field.name for field in dataclasses.fields(BusConfig)]
DEFAULTS = {
    "processing_interval": 1,
    "max_history": 1000,
    "enable_persistence": True,
    "enable_snapshots": True,
    "snapshot_frequency": 100,
    "storage_path": "event_store",
    "max_retry_count": 3,
    "batch_size": 100,
    "event_ttl_days": 30,
    "compression_enabled": True,
    "schema_validation": True,
    "audit_trail": True,
    "correlation_tracking": True,
    "metrics_enabled": True,
    "health_check_interval": 60,
}


def test_the_fifteen_keys_have_the_defaults_of_the_contract():
    assert parse_config(None).to_dict() == parse_config({}).to_dict() == DEFAULTS
    assert list(DEFAULTS) == KEYS


# Each key: a function from a value to what a user sees, and two values that look different.


async def publish_many(bus, count=10, event_type="risk_alert"):
    for n in range(count):
        await bus.publish(event_type, {"n": n}, aggregate_id="a")


async def idle_passes(folder, value):
    async with make_bus(folder, processing_interval=value) as bus:
        began = time.monotonic()
        await until(lambda: bus.metrics["housekeeping_passes"] >= 3 or time.monotonic() - began > 0.5)
        return bus.metrics["housekeeping_passes"] >= 3


async def objects_kept(folder, value):
    async with make_bus(folder, max_history=value) as bus:
        await publish_many(bus)
        return len(bus.event_history)


async def files_written(folder, value):
    async with make_bus(folder, enable_persistence=value) as bus:
        await publish_many(bus)
    return (folder / "META").exists()


async def snapshots_made(folder, value):
    async with make_bus(folder, enable_snapshots=value) as bus:
        await publish_many(bus)
    return list(bus.snapshots)


async def snapshots_of_ten(folder, value):
    bus = make_bus(folder, snapshot_frequency=value)
    await publish_many(bus)
    await bus.process_pending()
    made = bus.metrics["snapshots_created"]
    await bus.stop()
    return made


async def where(folder, value):
    async with make_bus(folder / value) as bus:
        await publish_many(bus)
    return [name for name in ("one", "two") if (folder / name / "META").exists()]


async def tries(folder, value):
    count = 0

    def fail(event):
        nonlocal count
        count += 1
        raise ValueError(event)

    bus = make_bus(folder, max_retry_count=value)
    bus.subscribe("risk_alert", fail)
    await publish_many(bus, 1)
    await bus.process_pending()
    await bus.stop()
    return count


async def taken_in_one_pass(folder, value):
    bus = make_bus(folder, batch_size=value)
    bus.subscribe("risk_alert", Seen())
    await publish_many(bus)
    taken = await bus.process_pending()
    await bus.stop()
    return taken


async def breach_is_noted(folder, value):
    async with make_bus(folder, schema_validation=value) as bus:
        try:
            await bus.publish("trade_executed", {"symbol": "BTCUSDT"})
        except aresbus.SchemaError:
            return "refused"
        return bus.event_history[0].schema_valid


async def acts_are_recorded(folder, value):
    async with make_bus(folder, audit_trail=value):
        pass
    return (folder / "audit").exists()


async def cause_is_inherited(folder, value):
    bus = make_bus(folder, correlation_tracking=value)

    async def answer(event):
        await bus.publish("system_error", {})

    bus.subscribe("risk_alert", answer)
    await publish_many(bus, 1)
    await bus.process_pending()
    cause = bus.event_history[1].causation_id
    await bus.stop()
    return cause is not None


async def latency_is_told(folder, value):
    async with make_bus(folder, metrics_enabled=value) as bus:
        return "latency_ns" in bus.get_metrics()


async def health_is_checked_again(folder, value):
    async with make_bus(folder, processing_interval=0.001, health_check_interval=value) as bus:
        await until(lambda: bus.metrics["housekeeping_passes"] > 10)
        return bus.metrics["health_checks"] > 1


async def sealed_is_small(folder, value) -> bool:
    """Whether a sealed segment takes less than half of what was appended to it."""
    bus = make_bus(folder, compression_enabled=value, log_options={"segment_bytes": 65_536})
    async with bus:
        while not (found := [one for one in bus.log.stats()["segments"] if one["is_sealed"]]):
            await bus.publish("risk_alert", {"text": "much the same " * 20})
        return found[0]["file_bytes"] < found[0]["used_bytes"] / 2


async def expires(folder, value):
    clock = ManualClock(1_723_161_255_000_000_000)
    options = {"segment_bytes": 65_536}
    bus = make_bus(folder, event_ttl_days=value, clock=clock, log_options=options)
    await bus.initialize()
    for _ in range(3):
        clock.advance_ns(86_400 * 10**9)
        await bus.publish("risk_alert", {})
    bus.log.sync()
    await until(lambda: bus.log.stats()["segments"][0]["is_sealed"])
    went = await bus.apply_retention()
    await bus.stop()
    return went is not None


EFFECTS: dict[str, tuple[Callable, tuple, tuple]] = {
    "processing_interval": (idle_passes, (0.01, True), (30, False)),
    "max_history": (objects_kept, (3, 3), (1000, 10)),
    "enable_persistence": (files_written, (True, True), (False, False)),
    "enable_snapshots": (snapshots_made, (True, ["system"]), (False, [])),
    "snapshot_frequency": (snapshots_of_ten, (5, 1), (100, 0)),
    "storage_path": (where, ("one", ["one"]), ("two", ["two"])),
    "max_retry_count": (tries, (0, 1), (2, 3)),
    "batch_size": (taken_in_one_pass, (4, 4), (100, 10)),
    "compression_enabled": (sealed_is_small, (True, True), (False, False)),
    "schema_validation": (breach_is_noted, (True, False), ("strict", "refused")),
    "event_ttl_days": (expires, (1, True), (0, False)),
    "audit_trail": (acts_are_recorded, (True, True), (False, False)),
    "correlation_tracking": (cause_is_inherited, (True, True), (False, False)),
    "metrics_enabled": (latency_is_told, (True, True), (False, False)),
    "health_check_interval": (health_is_checked_again, (0.001, True), (60, False)),
}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_has_an_effect_or_stands_in_not_yet(tmp_path, key):
    assert (key in EFFECTS) != (key in NOT_YET)
    if key in NOT_YET:
        return
    look, *cases = EFFECTS[key]
    seen = []
    for number, (value, expected) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        seen.append(run(look(folder, value)))
        assert seen[-1] == expected
    assert seen[0] != seen[1]


def test_schema_validation_false_checks_nothing(tmp_path):
    assert run(breach_is_noted(tmp_path, False)) is None


def test_no_opening_warns_of_a_key_without_effect(tmp_path, caplog):
    async def act():
        bus = make_bus(tmp_path)
        assert await bus.initialize()
        assert await bus.initialize()
        await bus.stop()

    with caplog.at_level(logging.WARNING):
        run(act())
    assert not [record for record in caplog.records if "without effect" in record.getMessage()]


# Faults


def test_every_fault_is_listed_with_what_it_got_and_takes():
    wrong = {
        "max_histori": 1,
        "max_history": 0,
        "batch_size": True,
        "processing_interval": float("inf"),
        "enable_snapshots": "yes",
        "schema_validation": "loose",
        "event_ttl_days": -1,
        "storage_path": "",
        3: 4,
    }
    with pytest.raises(ConfigError) as caught:
        EnhancedEventBus({"event_bus": wrong})
    problems = caught.value.problems
    assert len(problems) == len(wrong)
    for key, problem in zip(wrong, problems, strict=True):
        assert problem.startswith(f"{key}: ")
        assert str(wrong[key]) in problem or "unknown key" in problem
    assert all(problem in str(caught.value) for problem in problems)


@pytest.mark.parametrize("config", [[], "x", {"event_bus": None}, {"event_bus": [1]}])
def test_a_config_is_a_dict_of_dicts(config):
    with pytest.raises(ConfigError):
        EnhancedEventBus(config)


def test_other_sections_are_ignored():
    bus = EnhancedEventBus({"event_bus": {"max_history": 7}, "database": {"whatever": 1}, "log": 3})
    assert bus.max_history == 7


def test_a_path_object_is_a_storage_path(tmp_path):
    assert parse_config({"event_bus": {"storage_path": tmp_path}}).storage_path == str(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        {"log_options": {"segment_size": 1}},
        {"mode": "w"},
        {"mode": "r", "config": {"event_bus": {"enable_persistence": False}}},
        {"event_store": aresbus.MemoryEventStore(), "log_options": {"durability": "group"}},
    ],
)
def test_impossible_arguments_are_config_errors(arguments):
    with pytest.raises(ConfigError):
        EnhancedEventBus(**arguments)


# Environment and file


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in __import__("os").environ if name.startswith("ARESBUS_")]:
        monkeypatch.delenv(variable)
    return tmp_path


def test_without_file_and_environment_there_are_the_defaults(elsewhere):
    assert get_event_bus_config() == {"event_bus": DEFAULTS}
    EnhancedEventBus(get_event_bus_config())


def test_environment_over_file_over_defaults(elsewhere, monkeypatch):
    (elsewhere / "aresbus.toml").write_text(
        '[event_bus]\nmax_history = 5\nbatch_size = 6\nschema_validation = "strict"\n[other]\nx = 1\n'
    )
    for key, text in {
        "BATCH_SIZE": "7",
        "EVENT_TTL_DAYS": "none",
        "AUDIT_TRAIL": "off",
        "PROCESSING_INTERVAL": "0.5",
    }.items():
        monkeypatch.setenv(f"ARESBUS_{key}", text)
    section = get_event_bus_config()["event_bus"]
    assert (section["max_history"], section["batch_size"]) == (5, 7)
    assert (section["schema_validation"], section["event_ttl_days"]) == ("strict", None)
    assert (section["audit_trail"], section["processing_interval"]) == (False, 0.5)


def test_constructors_read_neither(elsewhere, monkeypatch):
    (elsewhere / "aresbus.toml").write_text("[event_bus]\nmax_history = 5\n")
    monkeypatch.setenv("ARESBUS_BATCH_SIZE", "7")
    assert EnhancedEventBus().config == BusConfig()


def test_faults_of_file_and_environment_are_listed_together(elsewhere, monkeypatch):
    (elsewhere / "aresbus.toml").write_text("[event_bus]\nmax_history = 0\n")
    monkeypatch.setenv("ARESBUS_BATCH_SIZE", "many")
    monkeypatch.setenv("ARESBUS_MAX_HISTROY", "5")
    with pytest.raises(ConfigError) as caught:
        get_event_bus_config()
    text = str(caught.value)
    for part in ("max_history", "ARESBUS_BATCH_SIZE", "ARESBUS_MAX_HISTROY"):
        assert part in text


def test_a_file_that_is_named_has_to_be_there_and_to_be_toml(elsewhere, monkeypatch):
    monkeypatch.setenv("ARESBUS_CONFIG", "other.toml")
    with pytest.raises(ConfigError, match="does not exist"):
        get_event_bus_config()
    (elsewhere / "other.toml").write_text("= what")
    with pytest.raises(ConfigError, match=r"other\.toml"):
        get_event_bus_config()
    (elsewhere / "other.toml").write_text("[event_bus]\nmax_history = 9\n")
    assert get_event_bus_config()["event_bus"]["max_history"] == 9


def test_setup_without_config_uses_file_and_environment(elsewhere, monkeypatch):
    monkeypatch.setenv("ARESBUS_STORAGE_PATH", "from_environment")

    async def act():
        bus = await aresbus.setup_enhanced_event_bus()
        assert bus is not None
        await bus.stop()

    asyncio.run(act())
    assert (elsewhere / "from_environment" / "META").exists()


def test_setup_with_a_wrong_config_gives_none_and_says_why(elsewhere, caplog):
    assert asyncio.run(aresbus.setup_enhanced_event_bus({"event_bus": {"max_history": 0}})) is None
    assert "max_history" in caplog.text


def test_setup_on_a_locked_log_gives_none_and_says_why(elsewhere, caplog):
    with aresbus.open("event_store"):
        assert asyncio.run(aresbus.setup_enhanced_event_bus()) is None
    assert "AB0003" in caplog.text
