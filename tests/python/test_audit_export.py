"""Acts as files: whole or not at all, digests that hold, CSV that no spreadsheet runs, and the export itself on record."""

import csv
import hashlib
import json
import os
import shutil
import subprocess

import aresbus
import pytest
from aresbus import actor, audit_export, export_acts, read_acts


@pytest.fixture
def path(tmp_path):
    """A log with a few acts, one of them by somebody who would like to be a formula."""
    with aresbus.open(tmp_path / "log", reason="start") as log:
        with actor("=1+1", reason='a, "b"\nc'), log.act("schema.register", {"type": "ü"}):
            pass
        with pytest.raises(KeyError), log.act("retention.drop"):
            raise KeyError
    return tmp_path / "log"


def export(path, folder, **options):
    with aresbus.open(path, mode="r") as log:
        return export_acts(log, folder, **options)


def test_every_act_is_a_line_and_the_manifest_counts_them(path, tmp_path):
    acts = read_acts(path)
    manifest = export(path, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["acts.jsonl", "manifest.json"]  # noqa: PTH208
    lines = [json.loads(line) for line in (tmp_path / "out/acts.jsonl").read_text().splitlines()]
    assert lines == [act.to_dict() for act in acts]
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == manifest
    with aresbus.open(path, mode="r") as log:
        assert manifest["log_id"] == log.log_id
    assert manifest["act_count"] == len(acts) == 4
    assert manifest["package_version"] == aresbus.__version__
    assert manifest["outcomes"] == {"done": 3, "failed": 1}
    assert manifest["names"]["retention.drop"] == 1
    assert manifest["trails"] == {"writer": 4}
    assert (manifest["first_begun_ns"], manifest["last_begun_ns"]) == (acts[0].begun_ns, acts[-1].begun_ns)


def test_the_digests_are_those_that_other_tools_compute(path, tmp_path):
    manifest = export(path, tmp_path / "out", as_csv=True)
    assert [file["name"] for file in manifest["files"]] == ["acts.jsonl", "acts.csv"]
    for file in manifest["files"]:
        content = (tmp_path / "out" / file["name"]).read_bytes()
        assert file["bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["blake2b"] == hashlib.blake2b(content).hexdigest()
        if shutil.which("b2sum"):
            done = subprocess.run(
                ["b2sum", tmp_path / "out" / file["name"]], capture_output=True, text=True, check=True
            )
            assert done.stdout.split()[0].lstrip("\\") == file["blake2b"]


def test_the_export_is_an_act_that_knows_the_digest_of_its_manifest(path, tmp_path):
    export(path, tmp_path / "out")
    (act,) = read_acts(path, act="audit.export")
    assert (act.outcome, act.details["folder"]) == ("done", str(tmp_path / "out"))
    digest = hashlib.sha256((tmp_path / "out/manifest.json").read_bytes()).hexdigest()
    assert act.result == {"acts": 4, "manifest_sha256": digest}
    assert act.trail != "writer"


def test_a_writers_export_stands_in_the_logs_own_trail(path, tmp_path):
    with aresbus.open(path) as log:
        export_acts(log, tmp_path / "out")
    assert read_acts(path, act="audit.export")[0].trail == "writer"


def test_without_audit_an_export_is_not_recorded(path, tmp_path):
    with aresbus.open(path, audit=False) as log:
        assert export_acts(log, tmp_path / "out")["act_count"] == 4
    assert read_acts(path, act="audit.export") == []


def test_a_range_is_exported_alone_and_named(path, tmp_path):
    acts = read_acts(path)
    manifest = export(path, tmp_path / "out", since=acts[1].begun_ns, until=acts[2].begun)
    assert manifest["act_count"] == 1
    assert manifest["since_ns"] == acts[1].begun_ns
    assert manifest["until_ns"] == acts[2].begun_ns // 1_000 * 1_000
    empty = export(path, tmp_path / "empty", until=0, as_csv=True)
    assert (empty["act_count"], empty["first_begun_ns"]) == (0, None)
    assert (tmp_path / "empty/acts.jsonl").read_text() == ""
    assert len((tmp_path / "empty/acts.csv").read_text().splitlines()) == 1


def test_the_csv_has_the_same_acts_and_no_formula(path, tmp_path):
    acts = read_acts(path)
    export(path, tmp_path / "out", as_csv=True)
    with (tmp_path / "out/acts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["act_id"] for row in rows] == [act.act_id for act in acts]
    assert [row["outcome"] for row in rows] == [act.outcome for act in acts]
    assert rows[1]["actor_name"] == "'=1+1"
    assert rows[1]["actor_reason"] == 'a, "b"\nc'
    assert json.loads(rows[1]["details"]) == {"type": "ü"}
    assert json.loads(rows[2]["result"]) == {"error": "KeyError: "}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_files_are_for_their_owner_alone(path, tmp_path):
    export(path, tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    for file in (tmp_path / "out").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_that_is_there_is_overwritten(path, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(FileExistsError):
            export(path, tmp_path / name)
    assert (tmp_path / "folder/mine").read_text() == (tmp_path / "file").read_text() == "mine"
    assert read_acts(path, act="audit.export") == []


@pytest.mark.parametrize("inside", ["", "out", "audit/out", "segments/../out"])
def test_an_export_does_not_go_into_the_log(path, inside):
    before = sorted(path.rglob("*"))
    with pytest.raises(OSError, match=r"beside the log|new folder"):
        export(path, path / inside)
    assert sorted(path.rglob("*")) == before


def test_a_failing_export_leaves_nothing_and_is_recorded(path, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        export(path, tmp_path / "no such parent" / "out")

    def full(file, content):
        raise OSError(28, "no space left")

    monkeypatch.setattr(audit_export.durable_files, "write", full)
    with pytest.raises(OSError, match="no space left"):
        export(path, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["log"]  # noqa: PTH208
    assert [act.outcome for act in read_acts(path, act="audit.export")] == ["failed", "failed"]


def test_an_export_that_cannot_be_recorded_is_not_made(path, tmp_path):
    with aresbus.open(path) as log:
        log.audit_trail.close()
        with pytest.raises(aresbus.LogClosedError):
            export_acts(log, tmp_path / "out")
        with pytest.raises(aresbus.LogClosedError):
            log.close()
    assert not (tmp_path / "out").exists()


def test_a_log_in_memory_has_nothing_to_export(tmp_path):
    with aresbus.Log(None) as log, pytest.raises(ValueError, match="memory"):
        export_acts(log, tmp_path / "out")
