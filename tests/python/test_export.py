"""Events out of a log: byte for byte the same again after an import, whole or not there, sums that fit."""

import base64
import csv
import hashlib
import io
import json
import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aresbus
import orjson
import pytest
from aresbus import EventSnapshot
from aresbus.export import export_log
from aresbus.legacy import import_legacy
from bus_support import run
from legacy_support import START, OldStore, tree

START_NS = 1_705_363_199_123_456_789
DAY_NS = 86_400_000_000_000


def varied(path: Path, count: int = 60) -> None:
    """A log with everything an event may have, in an order of times that is not that of the log."""
    with aresbus.open(path) as log:
        for at in range(count):
            named = {
                "source": "bot" if at % 2 else "",
                "correlation_id": f"c-{at // 4}" if at % 3 else None,
                "causation_id": f"e-{at - 1}" if at % 5 else None,
                "aggregate_id": f"trader/{at % 4}" if at % 4 else None,
                "tags": {"desk": str(at), "grüße": "\u2028"} if at % 3 == 0 else None,
                "event_id": f"own-{at}" if at % 6 == 0 else None,
                "schema_version": "1.1.0" if at % 7 == 0 else None,
                "event_time_ns": START_NS + (at % 9) * DAY_NS // 3 if at % 4 else None,
            }
            if at % 10 == 3:
                log.append_bytes("opaque", bytes(range(at % 256)), **named)
            elif at % 10 == 7:
                payload = b'{ "wei" : 123456789012345678901234,\n "a" : [1.50, -0, 1e5] }'
                log.append_bytes("given", payload, encoding="json", **named)
            else:
                log.append(
                    "note", {"n": at, "f": at / 7, "t": 'ü\n"', "none": None, "deep": [{"a": []}]}, **named
                )
        log.append("note", {"rsi": float("nan")})
        log.append("note", {"$base64": "no base64!"})


def store_snapshot(path: Path, aggregate_id: str, seq: int, state: dict) -> None:
    store = aresbus.FileEventStore(path)
    snapshot = EventSnapshot(
        str(uuid.uuid4()), datetime(2026, 1, 1, 12, tzinfo=UTC), aggregate_id, seq, state
    )
    run(store.save_snapshot(snapshot))
    store.close()


def export(path: Path, out: Path, **options: object):
    with aresbus.open(path, mode="r") as log:
        return export_log(log, out, **options)


def again(tmp_path: Path, out: Path, **options: object) -> Path:
    """Import what was exported into a new log, and export that."""
    with aresbus.open(tmp_path / "second") as log:
        report = import_legacy(out, log)
        assert report.findings_count == 0, report.findings
    export(tmp_path / "second", tmp_path / "out again", **options)
    return tmp_path / "out again"


# The same bytes again


def test_out_in_and_out_again_gives_the_same_bytes(tmp_path):
    varied(tmp_path / "log")
    store_snapshot(tmp_path / "log", "trader/1", 41, {"open": [1, 2]})
    report = export(tmp_path / "log", tmp_path / "out")
    assert (report.events, report.first_seq, report.last_seq, report.snapshots) == (62, 0, 61, 1)
    assert tree(again(tmp_path, tmp_path / "out")) == tree(tmp_path / "out")


@pytest.mark.parametrize(
    "filters",
    [
        {"types": ["note", "given"]},
        {"aggregate_id": "trader/3"},
        {"after": 20, "up_to": 50},
        {"since": START_NS, "until": START_NS + DAY_NS, "time": "event"},
        {"limit": 17},
    ],
    ids=lambda filters: next(iter(filters)),
)
def test_so_does_what_a_filter_lets_through(filters, tmp_path):
    """The numbers are those of the first log, although the second one has none of what lay between."""
    varied(tmp_path / "log")
    store_snapshot(tmp_path / "log", "trader/3", 47, {"open": []})
    report = export(tmp_path / "log", tmp_path / "out", **filters)
    assert 0 < report.events < 62
    assert tree(again(tmp_path, tmp_path / "out")) == tree(tmp_path / "out")


def test_so_does_a_packed_export(tmp_path):
    pytest.importorskip("zstandard")
    varied(tmp_path / "log")
    export(tmp_path / "log", tmp_path / "out", zstd=True)
    assert all(name.endswith((".jsonl.zst", ".json")) for name in tree(tmp_path / "out"))
    assert tree(again(tmp_path, tmp_path / "out", zstd=True)) == tree(tmp_path / "out")


def test_so_does_an_older_store_once_it_went_through(tmp_path):
    old = OldStore(tmp_path / "old")
    old.trades(40, step=timedelta(hours=1))
    old.save(
        "note", {"wei": 12345678901234567890123, "x": 1e-7}, tags={"n": 1}, version="0.9", sequence_number=2
    )
    old.snapshot("trader_1", 30, {"open": 1}, START + timedelta(days=1, hours=20))
    with aresbus.open(tmp_path / "log") as log:
        assert import_legacy(old.path, log).findings_count == 0
    export(tmp_path / "log", tmp_path / "out")
    assert tree(again(tmp_path, tmp_path / "out")) == tree(tmp_path / "out")


def test_the_bus_s_own_snapshots_go_through_with_the_versions_of_their_reducers(tmp_path):
    async def live():
        config = {"storage_path": str(tmp_path / "log"), "snapshot_frequency": 2}
        async with aresbus.EnhancedEventBus({"event_bus": config}, strict=True) as bus:
            bus.register_reducer(
                "trade_executed", lambda state, event: {"n": state.get("n", 0) + 1}, version=7
            )
            for _ in range(4):
                await bus.publish("trade_executed", {}, aggregate_id="trader")
                await bus.process_pending()

    run(live())
    export(tmp_path / "log", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    kinds = {one["aggregate_id"]: one["kind"] for one in manifest["files"] if "aggregate_id" in one}
    assert kinds == {"system": "metrics", "trader": "state"}
    assert tree(again(tmp_path, tmp_path / "out")) == tree(tmp_path / "out")

    async def rebuilt():
        config = {"storage_path": str(tmp_path / "second"), "enable_snapshots": False}
        async with aresbus.EnhancedEventBus({"event_bus": config}, strict=True) as bus:
            return await bus.rebuild_from_events("trader")

    assert run(rebuilt()) == {
        "trades": [{}] * 4
    }  # the reducers of this bus are others: the state is folded anew


# The layout


def test_a_line_is_the_event_as_a_dict(tmp_path):
    varied(tmp_path / "log")
    export(tmp_path / "log", tmp_path / "out")
    lines = [
        orjson.loads(line)
        for file in sorted((tmp_path / "out" / "events").iterdir())
        for line in file.read_bytes().splitlines()
    ]
    with aresbus.open(tmp_path / "log", mode="r") as log:
        expected = [event.to_dict() for event in log.read()]
    for line in lines:
        line["metadata"]["tags"].pop("aresbus:event_time_ns", None)
    assert lines == expected
    assert aresbus.Event.from_dict(lines[0]).event_id == expected[0]["metadata"]["event_id"]


def test_times_come_through_to_the_nanosecond(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        log.append("note", {}, event_time_ns=START_NS)
        log.append("note", {}, event_time_ns=-1)
    export(tmp_path / "log", tmp_path / "out")
    again(tmp_path, tmp_path / "out")
    with aresbus.open(tmp_path / "second", mode="r") as log:
        assert [event.event_time_ns for event in log.read()] == [START_NS, -1]


def test_an_event_of_an_earlier_day_stays_behind_those_before_it(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        for day in (0, 1, 0, 3, 2, 3):
            log.append("note", {}, event_time_ns=START_NS + day * DAY_NS)
    export(tmp_path / "log", tmp_path / "out")
    found = {
        name: [json.loads(line)["metadata"]["sequence_number"] for line in content.splitlines()]
        for name, content in tree(tmp_path / "out").items()
        if name != "manifest.json"
    }
    assert found == {
        "events/events_2024-01-15.jsonl": [0],
        "events/events_2024-01-16.jsonl": [1, 2],
        "events/events_2024-01-18.jsonl": [3, 4, 5],
    }


def test_the_manifest_lists_each_file_with_its_sum(tmp_path):
    varied(tmp_path / "log")
    store_snapshot(tmp_path / "log", "trader/1", 41, {"open": [1, 2]})
    export(tmp_path / "log", tmp_path / "out")
    files = tree(tmp_path / "out")
    manifest = json.loads(files.pop("manifest.json"))
    assert {one["name"]: (one["bytes"], one["sha256"]) for one in manifest["files"]} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()
    }
    assert sum(one.get("events", 0) for one in manifest["files"]) == manifest["events"] == 62
    (snapshot,) = [one for one in manifest["files"] if "aggregate_id" in one]
    assert (snapshot["name"], snapshot["aggregate_id"]) == ("snapshots/snapshot_000000.json", "trader/1")


def test_no_text_of_a_user_s_becomes_a_name_and_nobody_else_may_read(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        log.append("../../type", {}, aggregate_id="../../etc/passwd", source="/root")
    store_snapshot(tmp_path / "log", "../../etc/passwd", 0, {})
    export(tmp_path / "log", tmp_path / "out")
    assert [name.split("_")[0] for name in tree(tmp_path / "out")] == [
        "events/events",
        "manifest.json",
        "snapshots/snapshot",
    ]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_snapshot_goes_only_with_its_event(tmp_path):
    varied(tmp_path / "log")
    store_snapshot(tmp_path / "log", "trader/1", 41, {})
    assert export(tmp_path / "log", tmp_path / "a", up_to=40).snapshots == 0
    assert export(tmp_path / "log", tmp_path / "b", up_to=41).snapshots == 1
    assert export(tmp_path / "log", tmp_path / "c", types="opaque").snapshots == 0


# Whole or not there


@pytest.mark.parametrize("occupied", ["file", "folder", "inside"])
def test_nothing_is_overwritten(occupied, tmp_path):
    varied(tmp_path / "log", 3)
    out = tmp_path / "log" / "out" if occupied == "inside" else tmp_path / "out"
    if occupied == "file":
        out.write_text("precious")
    elif occupied == "folder":
        out.mkdir()
        (out / "mine").write_text("precious")
    with pytest.raises(aresbus.ExportError) as caught:
        export(tmp_path / "log", out)
    assert caught.value.path == str(out)
    assert not list(tmp_path.rglob("*.unfinished"))


def test_a_folder_that_filled_meanwhile_is_left_alone(tmp_path):
    varied(tmp_path / "log", 3)
    out = tmp_path / "out"

    def fill(_: object) -> None:
        out.mkdir(exist_ok=True)
        (out / "mine").write_text("precious")

    with pytest.raises(aresbus.ExportError):
        export(tmp_path / "log", out, on_event=fill)
    assert tree(out) == {"mine": b"precious"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "out"]


def test_an_empty_folder_is_taken(tmp_path):
    varied(tmp_path / "log", 3)
    (tmp_path / "out").mkdir()
    assert export(tmp_path / "log", tmp_path / "out").events == 5


@pytest.mark.parametrize("options", [{}, {"form": "csv"}, {"form": "csv", "zstd": True}, {"form": "parquet"}])
def test_an_export_that_fails_leaves_nothing(options, tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("zstandard")
    varied(tmp_path / "log", 5)

    def fail(report) -> None:
        if report.events == 4:
            raise RuntimeError("the caller has enough")

    with pytest.raises(RuntimeError, match="enough"):
        export(tmp_path / "log", tmp_path / "out", on_event=fail, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


KILLED_EXPORT = """
import os, signal, sys
import aresbus
from aresbus.export import export_log

def die(report):
    if report.events == 50:
        os.kill(os.getpid(), signal.SIGKILL)

with aresbus.open(sys.argv[1], mode="r") as log:
    export_log(log, sys.argv[2], on_event=die)
"""


def test_a_killed_export_leaves_nothing_that_looks_whole(tmp_path):
    varied(tmp_path / "log")
    command = [sys.executable, "-c", KILLED_EXPORT, tmp_path / "log", tmp_path / "out"]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    (left,) = tmp_path.glob("out.*.unfinished")
    assert not (left / "manifest.json").exists()
    assert export(tmp_path / "log", tmp_path / "out").events == 62


def test_a_log_that_grows_meanwhile_is_exported_as_it_was(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        for at in range(10):
            log.append("note", {"n": at})
        report = export_log(log, tmp_path / "out", on_event=lambda _: log.append("note", {"late": True}))
        assert (report.events, report.last_seq) == (10, 9)


@pytest.mark.parametrize("mode", ["rw", "r"])
def test_an_export_is_on_record_a_reader_s_too(mode, tmp_path):
    varied(tmp_path / "log", 3)
    with aresbus.open(tmp_path / "log", mode=mode) as log:
        export_log(log, tmp_path / "out", types="note")
        with pytest.raises(aresbus.ExportError):
            export_log(log, tmp_path / "out")
    done, failed = aresbus.read_acts(tmp_path / "log", act="log.export")
    assert (done.details["types"], done.result["events"], done.outcome) == ("note", 5, "done")
    assert failed.outcome == "failed"


# Tables


def test_csv_has_every_event_and_field(tmp_path):
    varied(tmp_path / "log")
    export(tmp_path / "log", tmp_path / "out", form="csv")
    rows = list(
        csv.DictReader(io.StringIO((tmp_path / "out" / "events.csv").read_bytes().decode(), newline=""))
    )
    with aresbus.open(tmp_path / "log", mode="r") as log:
        events = list(log.read())
    assert len(rows) == len(events)
    for row, event in zip(rows, events, strict=True):
        assert (int(row["seq"]), row["event_id"], row["event_type"]) == (
            event.seq,
            event.event_id,
            event.event_type,
        )
        assert row["aggregate_id"] == (event.aggregate_id or "")
        assert row["event_time_ns"] == ("" if event.event_time_ns is None else str(event.event_time_ns))
        assert json.loads(row["tags"]) == event.tags
        raw = base64.b64decode(row["data_base64"]) if event.encoding == "bytes" else row["data"].encode()
        assert raw == event.raw


def test_parquet_has_every_event_and_field(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    varied(tmp_path / "log")
    export(tmp_path / "log", tmp_path / "out", form="parquet")
    table = parquet.read_table(tmp_path / "out" / "events.parquet")
    with aresbus.open(tmp_path / "log", mode="r") as log:
        events = list(log.read())
    assert table.column("seq").to_pylist() == [event.seq for event in events]
    assert table.column("event_time_ns").to_pylist() == [event.event_time_ns for event in events]
    assert table.column("aggregate_id").to_pylist() == [event.aggregate_id for event in events]
    assert table.column("lossy").to_pylist() == [event.lossy for event in events]
    assert [text and text.encode() for text in table.column("data").to_pylist()] == [
        None if event.encoding == "bytes" else event.raw for event in events
    ]
    assert (tmp_path / "out" / "events.parquet").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_of_nothing_has_its_columns(form, tmp_path):
    pytest.importorskip("pyarrow")
    aresbus.open(tmp_path / "log").close()
    assert export(tmp_path / "log", tmp_path / "out", form=form).events == 0
    assert (tmp_path / "out" / f"events.{form}").stat().st_size > 50


@pytest.mark.parametrize(("form", "zstd"), [("xml", False), ("parquet", True)])
def test_a_form_that_does_not_go_is_refused(form, zstd, tmp_path):
    aresbus.open(tmp_path / "log").close()
    with pytest.raises(ValueError, match="jsonl"):
        export(tmp_path / "log", tmp_path / "out", form=form, zstd=zstd)


def test_a_packed_file_that_was_cut_off_is_named(tmp_path):
    pytest.importorskip("zstandard")
    varied(tmp_path / "log", 2_000)
    export(tmp_path / "log", tmp_path / "out", zstd=True)
    (file, *_) = sorted((tmp_path / "out" / "events").iterdir())
    file.write_bytes(file.read_bytes()[:-10])
    with aresbus.open(tmp_path / "second") as log:
        report = import_legacy(tmp_path / "out", log)
    assert any("ends in the middle" in finding.reason for finding in report.findings)
