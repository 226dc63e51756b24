"""``aresbus import-legacy`` and ``aresbus export``: what they say, and how they end."""

import json
from pathlib import Path

import aresbus
import pytest
from aresbus.cli import main
from legacy_support import OldStore, tree


@pytest.fixture
def old(tmp_path) -> OldStore:
    store = OldStore(tmp_path / "old")
    store.trades(5)
    return store


def import_into(old: OldStore, log: Path, *more: str) -> int:
    return main(["import-legacy", str(old.path), "--log", str(log), *more])


def test_a_clean_import_says_how_far_it_came(old, tmp_path, capsys):
    assert import_into(old, tmp_path / "log") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("5 events imported, the last at seq 4 in ")
    assert captured.err == ""
    assert import_into(old, tmp_path / "log") == 0
    assert "5 lines were dealt with by an earlier import" in capsys.readouterr().out


def test_bad_lines_are_named_on_stderr_and_exit_with_1(old, tmp_path, capsys):
    old.raw(b"".join(b"bad %d\n" % at for at in range(30)))
    assert import_into(old, tmp_path / "log") == 1
    captured = capsys.readouterr()
    assert captured.err.count("events_2024-01-15.jsonl:") == 30
    assert "events_2024-01-15.jsonl:6: no JSON" in captured.err
    assert "30 findings, named above, are not in the log" in captured.out


def test_a_dry_run_names_what_is_bad_and_makes_no_log(old, tmp_path, capsys):
    old.raw(b"bad\n")
    assert import_into(old, tmp_path / "log", "--dry-run") == 1
    captured = capsys.readouterr()
    assert "events_2024-01-15.jsonl:6: no JSON" in captured.err
    assert captured.out.startswith("5 events could be imported in ")
    assert not (tmp_path / "log").exists()


def test_reread_reads_every_line_again(old, tmp_path, capsys):
    assert import_into(old, tmp_path / "log") == 0
    assert import_into(old, tmp_path / "log", "--reread") == 0
    assert "5 events were in the log before" in capsys.readouterr().out


def test_the_import_as_json(old, tmp_path, capsys):
    old.raw(b"bad\n")
    assert import_into(old, tmp_path / "log", "--json") == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["events"], result["findings"], result["interrupted"]) == (5, 1, False)
    assert (result["bad"][0]["file"], result["bad"][0]["line"]) == ("events_2024-01-15.jsonl", 6)
    assert captured.err == ""


def test_a_folder_that_is_no_older_store_is_2(tmp_path, capsys):
    assert main(["import-legacy", str(tmp_path), "--log", str(tmp_path / "log")]) == 2
    assert "[AB0026]" in capsys.readouterr().err


def test_an_interrupted_import_says_so_and_goes_on_later(old, tmp_path, monkeypatch, capsys):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("aresbus.legacy.importing.store_snapshots", interrupt)
        assert import_into(old, tmp_path / "log") == 130
    captured = capsys.readouterr()
    assert "the same command goes on from here" in captured.err
    assert captured.out.startswith("5 events imported")
    assert import_into(old, tmp_path / "log") == 0


@pytest.fixture
def log(old, tmp_path, capsys) -> Path:
    import_into(old, tmp_path / "log")
    capsys.readouterr()
    return tmp_path / "log"


def test_an_export_says_what_it_wrote(log, tmp_path, capsys):
    assert main(["export", str(log), "--out", str(tmp_path / "out"), "--jsonl"]) == 0
    assert capsys.readouterr().out.startswith("5 events exported, seq 0 to 4 in ")
    assert set(tree(tmp_path / "out")) == {"events/events_2024-01-15.jsonl", "manifest.json"}


def test_an_export_takes_the_filters_of_read(log, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [
        "--jsonl",
        "--after",
        "0",
        "--up-to",
        "3",
        "--aggregate",
        "trader_1",
        "--type",
        "trade_executed",
    ]
    assert main(["export", str(log), "--out", str(out), *arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["events"], result["first_seq"], result["last_seq"]) == (2, 1, 3)


def test_an_export_overwrites_nothing(log, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("precious")
    assert main(["export", str(log), "--out", str(out), "--csv"]) == 2
    assert "[AB0027]" in capsys.readouterr().err
    assert tree(out) == {"mine": b"precious"}


def test_a_missing_extra_is_one_line_that_names_it(log, tmp_path, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(log), "--out", str(tmp_path / "out"), "--parquet"]) == 2
    assert (
        capsys.readouterr().err
        == "aresbus: Parquet needs the package pyarrow: pip install aresbus[parquet]\n"
    )
    assert not list(tmp_path.glob("out*"))


def test_an_empty_log_exports_to_an_empty_store(tmp_path, capsys):
    aresbus.open(tmp_path / "empty").close()
    assert main(["export", str(tmp_path / "empty"), "--out", str(tmp_path / "out"), "--jsonl"]) == 0
    assert capsys.readouterr().out.startswith("0 events exported in ")
    assert main(["import-legacy", str(tmp_path / "out"), "--log", str(tmp_path / "again")]) == 0
