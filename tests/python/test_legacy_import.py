"""The older event store in a log: what is kept, what is named and left out, and that it happens once."""

import json
import random
import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aresbus
import pytest
from aresbus import _core
from aresbus.export import export_log
from aresbus.legacy import feed, import_legacy, importing
from legacy_support import START, OldStore

ID = "0b1c9a52-6f1e-4d53-9a53-1f0f6a1f2c11"


@pytest.fixture
def old(tmp_path) -> OldStore:
    return OldStore(tmp_path / "old")


@pytest.fixture
def log(tmp_path):
    with aresbus.open(tmp_path / "log") as opened:
        yield opened


def line(**changes: object) -> bytes:
    """A good line, but for what is changed; a value of ... is left out."""
    metadata = {"event_id": str(uuid.uuid4()), "timestamp": START.isoformat()}
    event = {"event_type": "note", "data": {"n": 1}, "metadata": metadata}
    for name, value in changes.items():
        place = event if name in event else metadata
        place[name] = value
        if value is ...:
            del place[name]
    return json.dumps(event).encode() + b"\n"


def reasons(report) -> list[str]:
    return [finding.text() for finding in report.findings]


# What is kept


def test_everything_an_event_says_is_kept(old, log):
    told = old.save(
        "trade_executed",
        {"symbol": "BTCUSDT", "quantity": 0.5},
        version="1.2.0",
        schema_version="1.1.0",
        source="bot",
        correlation_id="c-1",
        causation_id="e-0",
        aggregate_id="trader",
        sequence_number=41,
        retry_count=3,
        tags={"desk": "7"},
    )
    report = import_legacy(old.path, log)
    (event,) = log.read()
    metadata = event.metadata
    assert (report.events, report.findings_count, report.first_seq, report.last_seq) == (1, 0, 0, 0)
    assert (event.event_type, event.data) == ("trade_executed", {"symbol": "BTCUSDT", "quantity": 0.5})
    for name in (
        "event_id",
        "version",
        "schema_version",
        "timestamp",
        "source",
        "correlation_id",
        "causation_id",
        "aggregate_id",
    ):
        assert getattr(metadata, name) == getattr(told, name), name
    assert metadata.tags == {
        "desk": "7",
        "aresbus:legacy": "events_2024-01-15.jsonl:1:0",
        "aresbus:legacy_sequence": "41",
    }
    assert (metadata.sequence_number, metadata.retry_count, str(metadata.status)) == (0, 0, "pending")


def test_files_go_by_date_and_lines_as_they_stand_whatever_their_numbers(old, log):
    told = [
        old.save("b", {}, timestamp=datetime(2024, 2, 1, 9, tzinfo=UTC), sequence_number=0),
        old.save("b", {}, timestamp=datetime(2024, 2, 1, 8, tzinfo=UTC), sequence_number=9),
        old.save("b", {}, timestamp=datetime(2024, 2, 1, 10, tzinfo=UTC), sequence_number=9),
        old.save("a", {}, timestamp=datetime(2023, 12, 31, tzinfo=UTC), sequence_number=5),
    ]
    import_legacy(old.path, log)
    assert [event.event_id for event in log.read()] == [told[at].event_id for at in (3, 0, 1, 2)]


def test_versions_of_aggregates_are_counted_anew(old, log):
    old.trades(6)
    import_legacy(old.path, log)
    assert [event.aggregate_version for event in log.read()] == [0, 0, 1, 1, 2, 2]
    assert [event.seq for event in log.read(aggregate_id="trader_1")] == [1, 3, 5]


def test_a_number_that_is_the_position_needs_no_tag(old, log):
    old.save("note", {}, sequence_number=0)
    old.save("note", {}, sequence_number=0)
    import_legacy(old.path, log)
    assert [event.tags.get("aresbus:legacy_sequence") for event in log.read()] == [None, "0"]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-01-15T12:00:00.123456", datetime(2024, 1, 15, 12, 0, 0, 123456, UTC)),
        ("2024-01-15 12:00:00", datetime(2024, 1, 15, 12, tzinfo=UTC)),
        ("2024-01-15T12:00:00Z", datetime(2024, 1, 15, 12, tzinfo=UTC)),
        ("2024-01-15T12:00:00+05:30", datetime(2024, 1, 15, 6, 30, tzinfo=UTC)),
        ("1969-12-31T23:59:59+00:00", datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_times_are_utc_unless_they_name_a_zone(old, log, text, time):
    old.raw(line(timestamp=text))
    assert import_legacy(old.path, log).findings_count == 0
    (event,) = log.read()
    assert event.metadata.timestamp == time


def test_types_that_nobody_registered_stay_text(old, log):
    old.save("liquidation_cascade_seen", {"n": 1})
    import_legacy(old.path, log)
    (event,) = log.read(types="liquidation_cascade_seen")
    assert event.event_type == "liquidation_cascade_seen"


@pytest.mark.parametrize(
    "data", [None, 7, "text", [1, 2], {}, {"$base64": "no base64!"}, {"t": "grüße \u2028 \x00"}]
)
def test_any_json_is_data(old, log, data):
    old.save("note", data)
    assert import_legacy(old.path, log).findings_count == 0
    (event,) = log.read()
    assert event.data == data


def test_integers_beyond_64_bits_keep_their_digits(old, log):
    wei = 12345678901234567890123
    old.save("note", {"wei": wei, "debt": -9999999999999999999, "price": 1.5})
    import_legacy(old.path, log)
    (event,) = log.read()
    assert event.raw == b'{"wei":12345678901234567890123,"debt":-9999999999999999999,"price":1.5}'
    assert event.encoding == "json-given"


def test_long_digits_that_fit_are_stored_as_any_other(old, log):
    old.save("note", {"ns": 1723161253937085768, "big": 2**64 - 1, "x": 0.12345678901234567890123})
    import_legacy(old.path, log)
    (event,) = log.read()
    assert event.encoding == "json"
    assert event.data == {"ns": 1723161253937085768, "big": 2**64 - 1, "x": 0.12345678901234568}


def test_nan_becomes_null_flagged_and_counted(old, log):
    old.save("note", {"rsi": float("nan"), "max": float("-inf"), "ok": 1})
    report = import_legacy(old.path, log)
    (event,) = log.read()
    assert (report.non_finite, report.findings_count) == (1, 0)
    assert event.data == {"rsi": None, "max": None, "ok": 1}
    assert event.lossy


def test_tags_that_are_no_text_become_text(old, log):
    old.save("note", {}, tags={"attempt": 3, "live": True, "desk": "7"})
    import_legacy(old.path, log)
    (event,) = log.read()
    assert {name: event.tags[name] for name in ("attempt", "live", "desk")} == {
        "attempt": "3",
        "live": "true",
        "desk": "7",
    }


# What is named and left out

BAD = {
    "no JSON at all": (b"garbage\n", "no JSON"),
    "half a line in the middle": (line()[:40] + b"\n", "no JSON"),
    "two lines run into one": (line()[:-1] + line(), "no JSON"),
    "an array": (b"[1,2]\n", "no JSON object but list"),
    "a number": (b"17\n", "no JSON object but int"),
    "NUL bytes before an event": (b"\0" * 64 + line(), "NUL bytes"),
    "broken UTF-8": (line().replace(b"note", b"n\xffte"), "no UTF-8"),
    "no type": (line(event_type=...), "lacks event_type"),
    "an empty type": (line(event_type=""), "event_type is empty"),
    "a type that is no text": (line(event_type=4), "event_type is int"),
    "a type too long": (line(event_type="t" * 256), "AB0009"),
    "no data": (line(data=...), "lacks data"),
    "no metadata": (line(metadata=...), "lacks metadata"),
    "metadata that is no object": (line(metadata=[]), "metadata is list"),
    "no id": (line(event_id=...), "lacks event_id"),
    "an empty id": (line(event_id=""), "event_id is empty"),
    "no time": (line(timestamp=...), "lacks timestamp"),
    "a time that is none": (line(timestamp="yesterday"), "no time in ISO 8601"),
    "a time as a number": (line(timestamp=1705312800.0), "timestamp is float"),
    "a time that no log can hold": (line(timestamp="9999-12-31T23:59:59+00:00"), "AB0008"),
    "a number that is text": (line(sequence_number="7"), "sequence_number is str"),
    "a number that is a truth": (line(sequence_number=True), "sequence_number is bool"),
    "a number beyond reason": (line(sequence_number=10**19), "more than 18 digits"),
    "a source that is no text": (line(source=["bot"]), "source is list"),
    "a source too long": (line(source="s" * 300), "AB0009"),
    "tags that are a list": (line(tags=["a"]), "tags is list"),
    "an unknown field": (line(priority=1), "no event of Ares has: priority"),
    "a lone surrogate": (line(data={"t": "\ud800"}), "cannot be stored"),
    "a lone surrogate in a name": (line(aggregate_id="\ud800"), "cannot be stored"),
    "an integer of 5,000 digits": (line(data="@").replace(b'"@"', b"1" * 5_000), "no JSON"),
    "nesting without end": (b'{"event_type":"x","data":' + b"[" * 100_000 + b"\n", "nested too deeply"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_with_its_number_and_the_rest_goes_on(name, old, log):
    content, reason = BAD[name]
    old.raw(line() + content + b"\n  \n" + line())
    report = import_legacy(old.path, log)
    assert (report.events, report.findings_count) == (2, 1)
    (text,) = reasons(report)
    assert text.startswith("events_2024-01-15.jsonl:2: ")
    assert reason in text
    assert len(text) < 400


def test_a_half_last_line_waits_for_its_other_half(old, log):
    whole = line()
    old.raw(line() + whole[:-20])
    report = import_legacy(old.path, log)
    assert (report.events, reasons(report)[0][:40]) == (1, "events_2024-01-15.jsonl:2: half a line, ")
    old.raw(whole[-20:])
    report = import_legacy(old.path, log)
    assert (report.events, report.findings_count, report.skipped_lines) == (1, 0, 1)


def test_a_last_line_without_its_end_is_an_event_once(old, log):
    whole = line()
    old.raw(whole[:-1])
    assert import_legacy(old.path, log).events == 1
    old.raw(whole[-1:] + line())
    assert import_legacy(old.path, log).events == 1
    assert log.last_seq == 1


def test_a_line_beyond_the_limit_is_passed_over_without_being_held(old, log, monkeypatch):
    monkeypatch.setattr(feed, "MAX_LINE_BYTES", 4_096)
    monkeypatch.setattr(importing, "MAX_LINE_BYTES", 4_096)
    monkeypatch.setattr(feed, "SKIP_BYTES", 1_000)
    old.raw(line() + line(data="x" * 20_000) + line() + b"y" * 9_000)
    report = import_legacy(old.path, log)
    assert report.events == 2
    assert reasons(report) == [
        "events_2024-01-15.jsonl:2: longer than 4,096 bytes",
        "events_2024-01-15.jsonl:4: longer than 4,096 bytes",
    ]
    assert [event.tags["aresbus:legacy"].split(":")[1] for event in log.read()] == ["1", "3"]


def test_an_id_twice_in_the_source_is_named_with_its_first_place(old, log):
    old.raw(line() + line(event_id=ID), day="2024-01-14")
    old.raw(b"", day="2024-01-15")
    old.raw(line() + line(event_id=ID, data={"n": 2}), day="2024-01-16")
    report = import_legacy(old.path, log)
    assert report.events == 3
    assert reasons(report) == [
        f"events_2024-01-16.jsonl:2: its event id {ID!r} is that of events_2024-01-14.jsonl:2"
    ]


def test_one_bad_event_of_a_batch_costs_the_others_nothing(old, log):
    old.raw(b"".join(line(sequence_number=at) for at in range(50)))
    old.raw(line(tags={"k": "v" * 70_000}))
    old.raw(b"".join(line(sequence_number=51 + at) for at in range(50)))
    report = import_legacy(old.path, log)
    assert (report.events, report.findings_count) == (100, 1)
    assert reasons(report)[0].startswith("events_2024-01-15.jsonl:51: [AB0009]")
    numbers = [int(event.tags.get("aresbus:legacy_sequence", event.seq)) for event in log.read()]
    assert numbers == [*range(50), *range(51, 101)]


def test_what_is_no_event_file_is_named(old, log):
    old.trades(1)
    (old.path / "events" / "events_2024-01-15.jsonl.bak").write_bytes(line())
    (old.path / "events" / "events_2024-01-20.jsonl").mkdir()
    report = import_legacy(old.path, log)
    assert report.events == 1
    assert [finding.file for finding in report.findings] == [
        "events_2024-01-15.jsonl.bak",
        "events_2024-01-20.jsonl",
    ]


def test_a_file_that_cannot_be_read_is_named_and_the_next_is_taken(old, log):
    (old.path / "events" / "events_2024-01-14.jsonl.zst").write_bytes(b"no zstd")
    pytest.importorskip("zstandard")
    old.trades(1)
    report = import_legacy(old.path, log)
    assert report.events == 1
    assert "cannot be read on from here" in reasons(report)[0]


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: aresbus.open(path).close()])
def test_a_folder_without_events_is_refused(make, tmp_path, log):
    make(tmp_path / "source")
    with pytest.raises(aresbus.LegacyLayoutError) as caught:
        import_legacy(tmp_path / "source", log)
    assert caught.value.path == str(tmp_path / "source")


# Once


def test_a_second_import_adds_nothing_and_reads_nothing_again(old, log):
    old.trades(30)
    assert import_legacy(old.path, log).events == 30
    report = import_legacy(old.path, log)
    assert (report.events, report.already, report.skipped_lines, report.findings_count) == (0, 0, 30, 0)
    assert log.last_seq == 29


def test_a_store_that_grows_is_followed(old, log):
    old.trades(5)
    import_legacy(old.path, log)
    old.trades(10, first=5)
    report = import_legacy(old.path, log)
    assert (report.events, report.skipped_lines) == (10, 5)
    assert [event.data["price"] for event in log.read()] == [61250.5 + at for at in range(15)]


def test_events_of_others_between_two_imports_do_no_harm(old, log):
    old.trades(5)
    import_legacy(old.path, log)
    log.append("note", {"mine": True})
    old.trades(2, first=5)
    report = import_legacy(old.path, log)
    assert (report.events, report.skipped_lines) == (2, 5)
    assert log.last_seq == 7


def test_an_event_that_the_log_has_already_is_passed_over(old, log):
    told = old.trades(3)
    log.append("trade_executed", {}, event_id=told[1].event_id)
    report = import_legacy(old.path, log)
    assert (report.events, report.already, report.findings_count) == (2, 1, 0)


def test_a_file_that_was_changed_is_read_from_its_start(old, log):
    old.raw(line() + b"bad\n" + line())
    assert import_legacy(old.path, log).findings_count == 1
    file = old.file("2024-01-15")
    file.write_bytes(file.read_bytes().replace(b"bad\n", line()))
    report = import_legacy(old.path, log)
    assert (report.events, report.already, report.findings_count) == (1, 2, 0)
    assert import_legacy(old.path, log).events == 0


def test_tags_that_only_look_like_ours_do_no_harm(old, log, tmp_path):
    for tags in (
        {"aresbus:legacy": "x"},
        {"aresbus:legacy": "events_2024-01-15.jsonl:1:" + "9" * 5_000},
        {"aresbus:legacy": "events_2024-01-15.jsonl:7:999999999"},
        {"aresbus:legacy": "events_2024-01-15.jsonl:1:0", "aresbus:legacy_sequence": "many"},
    ):
        log.append("note", {}, tags=tags)
    old.trades(3)
    assert import_legacy(old.path, log).events == 3
    assert export_log(log, tmp_path / "out").events == 7


def test_reread_finds_a_line_that_was_mended_in_place(old, log):
    good = line()
    old.raw(line() + b"x" * (len(good) - 1) + b"\n" + line())
    import_legacy(old.path, log)
    file = old.file("2024-01-15")
    file.write_bytes(file.read_bytes().replace(b"x" * (len(good) - 1) + b"\n", good))
    report = import_legacy(old.path, log, reread=True)
    assert (report.events, report.already, report.findings_count) == (1, 2, 0)


def test_two_stores_go_into_one_log(tmp_path, log):
    first, second = OldStore(tmp_path / "first"), OldStore(tmp_path / "second")
    first.trades(4)
    second.trades(7)
    assert import_legacy(first.path, log).events == 4
    assert import_legacy(second.path, log).events == 7
    assert import_legacy(first.path, log).events == 0
    assert import_legacy(second.path, log).events == 0


def test_the_log_may_lie_in_the_older_store_itself(old):
    old.trades(3)
    old.snapshot("trader_0", 3, {"n": 2}, START + timedelta(seconds=2))
    with aresbus.open(old.path) as log:
        assert import_legacy(old.path, log).findings_count == 0
        log.append("note", {})
        assert {finding["kind"] for finding in log.verify()["findings"]} == {"stray file"}  # events/
        assert import_legacy(old.path, log).events == 0


def test_the_import_is_on_record(old, tmp_path):
    old.trades(2)
    with aresbus.open(tmp_path / "log") as log:
        import_legacy(old.path, log)
    with _core.Log(tmp_path / "log" / "audit", mode="r") as trail:
        intent, outcome = trail.read(types="legacy.import")
    assert intent.data["details"] == {"source": str(old.path)}
    assert (outcome.data["outcome"], outcome.data["details"]["events"]) == ("done", 2)


KILLED_IMPORT = """
import os, signal, sys, threading, time
import aresbus
from aresbus.legacy import import_legacy

source, path, delay = sys.argv[1], sys.argv[2], float(sys.argv[3])

def die():
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGKILL)

killer = threading.Thread(target=die, daemon=True)

def on_batch(_):
    if not killer.ident:
        killer.start()

with aresbus.open(path) as log:
    import_legacy(source, log, on_batch=on_batch)
os._exit(0)  # the killer is not waited for
"""


def test_a_killed_import_goes_on_where_it_ended(old, tmp_path):
    """Killed at any moment behind its first batch and started again, the log is as an undisturbed import makes it."""

    def stored(path: Path) -> list[tuple[object, ...]]:
        with aresbus.open(path, mode="r") as log:
            return [(one.event_id, one.raw, one.tags, one.aggregate_version) for one in log.read()]

    old.trades(15_000, step=timedelta(seconds=20))
    with aresbus.open(tmp_path / "whole") as log:
        assert import_legacy(old.path, log).events == 15_000
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    delays = random.Random(seed)
    kills = 0
    for _ in range(5):
        command = [
            sys.executable,
            "-c",
            KILLED_IMPORT,
            old.path,
            tmp_path / "log",
            str(delays.uniform(0, 0.04)),
        ]
        code = subprocess.run(command, check=False, timeout=120).returncode
        assert code in {0, -signal.SIGKILL}
        kills += code != 0
    assert kills
    with aresbus.open(tmp_path / "log") as log:
        report = import_legacy(old.path, log)
        assert report.findings_count == 0
        assert report.already == 0
    assert stored(tmp_path / "log") == stored(tmp_path / "whole")


# Snapshots


async def latest(path, aggregate_id):
    store = aresbus.FileEventStore(path, mode="r")
    try:
        return await store.get_latest_snapshot(aggregate_id)
    finally:
        store.close()


def test_a_snapshot_is_tied_to_the_event_it_was_taken_after(old, tmp_path, event_loop_run):
    told = old.trades(10)
    old.snapshot("trader_0", 5, {"old": True}, START + timedelta(seconds=4))
    snapshot_id = old.snapshot(
        "trader_0", 9, {"trades": [1, 2]}, START + timedelta(seconds=8, microseconds=5)
    )
    with aresbus.open(tmp_path / "log") as log:
        log.append("note", {"before": True})
        report = import_legacy(old.path, log)
        assert (report.snapshots, report.older_snapshots, report.findings_count) == (1, 1, 0)
        assert import_legacy(old.path, log).snapshots == 0
    found = event_loop_run(latest(tmp_path / "log", "trader_0"))
    assert (found.snapshot_id, found.state_data, found.sequence_number) == (
        snapshot_id,
        {"trades": [1, 2]},
        9,
    )
    with aresbus.open(tmp_path / "log", mode="r") as log:
        (event,) = log.read(after=8, up_to=9)
    assert event.event_id == told[8].event_id


def test_numbers_that_began_anew_are_told_apart_by_time(old, tmp_path, event_loop_run):
    for run in range(3):
        for number in range(4):
            old.save(
                "note",
                {"run": run, "number": number},
                aggregate_id="a",
                sequence_number=number,
                timestamp=START + timedelta(hours=run, seconds=number),
            )
    old.snapshot("a", 2, {"of": "the second run"}, START + timedelta(hours=1, seconds=30))
    with aresbus.open(tmp_path / "log") as log:
        assert import_legacy(old.path, log).findings_count == 0
    assert event_loop_run(latest(tmp_path / "log", "a")).sequence_number == 6


def test_the_bus_s_own_snapshot_names_the_event_to_come(old, tmp_path, event_loop_run):
    old.trades(10)
    old.snapshot("system", 6, {"metrics": {}}, START + timedelta(seconds=4, microseconds=9))
    with aresbus.open(tmp_path / "log") as log:
        assert import_legacy(old.path, log).findings_count == 0
    assert event_loop_run(latest(tmp_path / "log", "system")).sequence_number == 4


def test_a_snapshot_whose_event_is_not_there_is_named(old, log):
    old.trades(4)
    old.snapshot("trader_0", 77, {}, START + timedelta(days=1))
    old.snapshot("nobody", 1, {}, START)
    (old.path / "snapshots" / "snapshot_x_1.json").write_text("{")
    (old.path / "snapshots" / "snapshot_y_1.json").write_text('{"state_data": {}}')
    report = import_legacy(old.path, log)
    assert (report.events, report.snapshots, report.findings_count) == (4, 0, 4)
    assert all(finding.line is None and finding.file.startswith("snapshots/") for finding in report.findings)


def test_a_rebuild_starts_from_the_older_state_as_it_did(old, tmp_path, event_loop_run):
    old.trades(6)
    old.snapshot("trader_0", 3, {"trades": [{"price": "the older bus's"}]}, START + timedelta(seconds=2))
    old.snapshot("system", 7, {"metrics": {}}, START + timedelta(seconds=9))
    with aresbus.open(tmp_path / "log") as log:
        assert import_legacy(old.path, log).snapshots == 2

    async def rebuilt(aggregate_id):
        config = {"storage_path": str(tmp_path / "log"), "enable_snapshots": False}
        async with aresbus.EnhancedEventBus({"event_bus": config}, strict=True) as bus:
            return await bus.rebuild_from_events(aggregate_id)

    trades = event_loop_run(rebuilt("trader_0"))["trades"]
    assert [trade["price"] for trade in trades] == ["the older bus's", 61254.5]
    assert event_loop_run(rebuilt("system")) == {}


@pytest.fixture
def event_loop_run():
    from bus_support import run

    return run
