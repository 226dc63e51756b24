"""``aresbus schema``: list, show, diff, check, on a log whose bot has registered its types."""

import io
import json
import sys

import aresbus
import pytest
from aresbus import EventVersionManager
from aresbus.cli import main
from aresbus.schema import Catalogue

FILL_1 = {
    "type": "object",
    "properties": {"symbol": {"type": "string"}, "price": {"type": "number"}, "old": {}},
    "required": ["symbol", "price"],
}
FILL_2 = {
    "type": "object",
    "properties": {"symbol": {"type": "string"}, "price": {"type": "number"}, "venue": {"type": "string"}},
    "required": ["symbol", "price", "venue"],
}


@pytest.fixture
def log(tmp_path):
    manager = EventVersionManager()
    manager.register("fill", FILL_1, version="1.0.0")
    manager.upcaster("fill", "1.0.0", "2.0.0")(lambda data: {**data, "venue": "X"})
    manager.register("fill", FILL_2, version="2.0.0")
    with aresbus.open(tmp_path / "log") as opened:
        Catalogue(opened).record(manager)
        opened.append("fill", {"symbol": "BTC", "price": 1.5})
        opened.append("fill", {"symbol": "BTC", "price": "1.5"}, schema_version="2.0.0")
        opened.append("other", {})
    return tmp_path / "log"


def run(capsys, *arguments):
    code = main(["schema", *map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, captured.out


def told(capsys, *arguments):
    code, out = run(capsys, *arguments, "--json")
    return code, json.loads(out)


def test_list_names_types_versions_and_fields(log, capsys):
    code, out = run(capsys, "list", log)
    assert code == 0
    assert out.splitlines()[0].split()[:2] == ["type", "version"]
    rows = [line.split("  ") for line in out.splitlines()[1:]]
    assert [[cell for cell in row if cell][:2] for row in rows[:2]] == [["fill", "1.0.0"], ["fill", "2.0.0"]]
    assert "symbol, price, [old]" in out
    code, listed = told(capsys, "list", log)
    assert code == 0
    assert listed[1]["document"] == FILL_2


def test_a_log_that_records_nothing_says_so(tmp_path, capsys):
    with aresbus.open(tmp_path / "log"):
        pass
    assert run(capsys, "list", tmp_path / "log") == (0, "no schema is recorded\n")
    assert told(capsys, "list", tmp_path / "log") == (0, [])


def test_show_prints_the_newest_or_the_version_asked_for(log, capsys):
    code, out = run(capsys, "show", log, "fill")
    assert code == 0
    assert json.loads(out[out.index("{") :]) == FILL_2
    assert told(capsys, "show", log, "fill", "--version", "1.0.0")[1]["document"] == FILL_1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "fil"], "records no schema of fil;"),
        (["show", "fill", "--version", "3.0.0"], "no schema of fill 3.0.0; it records 1.0.0, 2.0.0"),
        (["diff", "fill", "1.0.0", "3.0.0"], "no schema of fill 3.0.0"),
        (["check", "/dev/null", "--type", "fil"], "no schema of fil"),
        (["check", "/nowhere/at.json"], "No such file"),
    ],
)
def test_what_is_not_there_is_one_line_and_2(log, arguments, says, capsys):
    action, *rest = arguments
    assert main(["schema", action, str(log), *rest]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert "bug" not in captured.err
    assert captured.err.count("\n") == 1


def test_diff_says_who_can_read_whose_data(log, capsys):
    code, out = run(capsys, "diff", log, "fill", "1.0.0", "2.0.0")
    assert code == 1
    assert out.splitlines() == [
        "fill: 1.0.0 → 2.0.0",
        "  + venue",
        "  - old",
        "2.0.0 reads data of 1.0.0: no",
        "  venue: is required now, and was not there",
        "1.0.0 reads data of 2.0.0: yes",
    ]
    code, result = told(capsys, "diff", log, "fill", "2.0.0", "1.0.0")
    assert code == 0
    assert (result["added"], result["removed"]) == (["old"], ["venue"])
    assert result["first_cannot_read_second"] == ["venue: is required now, and was not there"]


def test_diff_takes_a_file_that_is_not_recorded_yet(log, tmp_path, capsys):
    candidate = tmp_path / "next.json"
    candidate.write_text(json.dumps(FILL_2 | {"required": ["symbol"]}))
    assert run(capsys, "diff", log, "fill", "2.0.0", candidate)[0] == 0
    candidate.write_text("{")
    assert main(["schema", "diff", str(log), "fill", "2.0.0", str(candidate)]) == 2
    assert "holds no JSON Schema" in capsys.readouterr().err


def test_check_takes_what_read_prints(log, tmp_path, capsys, monkeypatch):
    main(["read", str(log), "--json"])
    lines = capsys.readouterr().out
    file = tmp_path / "events.jsonl"
    file.write_text(lines)
    code, out = run(capsys, "check", log, file)
    assert code == 1
    assert out.splitlines() == [
        "line 2: fill 2.0.0: venue is missing; price is number, got str",
        "2 events checked, 1 finding, 1 event of no recorded schema",
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    code, result = told(capsys, "check", log, "-")
    assert (code, result["checked"], result["unrecorded"]) == (1, 2, 1)
    assert result["findings"][0]["line"] == 2


def test_check_takes_bare_data_of_a_type(log, tmp_path, capsys):
    file = tmp_path / "one.json"
    file.write_text('{\n  "symbol": "X",\n  "price": 1\n}\n')
    assert run(capsys, "check", log, file, "--type", "fill", "--version", "1.0.0")[0] == 0
    code, out = run(capsys, "check", log, file, "--type", "fill")
    assert code == 1
    assert out.splitlines()[0] == "line 1: fill 2.0.0: venue is missing"


def test_check_takes_the_dict_form_of_an_event(log, tmp_path, capsys):
    file = tmp_path / "event.json"
    with aresbus.open(log, mode="r") as opened:
        file.write_text(json.dumps([event.to_dict() for event in opened.read()][1]))
    assert run(capsys, "check", log, file)[0] == 1
    assert run(capsys, "check", log, file, "--version", "9.0.0")[0] == 0


@pytest.mark.parametrize(
    "line", ["{", "7", "[]", '{"event_type": 7, "data": 1}', '{"event_type": "fill"}', "\xff"]
)
def test_a_line_that_is_no_event_is_a_finding_and_the_rest_goes_on(log, tmp_path, line, capsys):
    file = tmp_path / "lines.json"
    good = '{"event_type": "fill", "schema_version": "1.0.0", "data": {"symbol": "X", "price": 1}}'
    file.write_text(f"{good}\n\n{line}\n{good}\n", encoding="latin-1")
    code, result = told(capsys, "check", log, file)
    assert (code, result["checked"]) == (1, 2)
    assert [finding["line"] for finding in result["findings"]] == [3]


def test_a_damaged_record_is_one_line_and_2(log, capsys):
    file = next((log / "schemas").iterdir())
    file.write_bytes(file.read_bytes()[:-3])
    assert main(["schema", "list", str(log)]) == 2
    error = capsys.readouterr().err
    assert "[AB0006]" in error
    assert file.name in error


@pytest.mark.parametrize("action", ["list", "show", "diff", "check"])
def test_each_action_has_help_and_takes_json_before_and_after(action, log, capsys):
    with pytest.raises(SystemExit) as left:
        main(["schema", action, "--help"])
    assert left.value.code == 0
    assert "--json" in capsys.readouterr().out
    assert main(["schema", "--json", "list", str(log)]) == 0
    assert json.loads(capsys.readouterr().out)


def test_schema_alone_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as left:
        main(["schema"])
    assert left.value.code == 2
