"""``aresbus read``, ``info`` and ``verify``: what they print of a log that is known, whole or damaged."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aresbus
import pytest
from aresbus.cli import main
from aresbus.cli.read import fitted, time_text

TIME_NS = 1723161253937085768


@pytest.fixture
def path(tmp_path) -> Path:
    """Six events: three trades of one aggregate, two notes, opaque bytes."""
    path = tmp_path / "log"
    with aresbus.open(path) as log:
        for number in range(3):
            log.append(
                "trade", {"n": number}, aggregate_id="spot:X", source="spot", event_time_ns=TIME_NS + number
            )
        log.append_bytes("note", b'{ "pretty" :\n  [1] }', encoding="json", tags={"k": "v", "l": "a=b"})
        log.append("note", {"text": "grüße"}, correlation_id="talk", tags={"k": "v"})
        log.append_bytes("blob", bytes(range(40)))
    return path


def read(path: Path, capsys, *arguments: str) -> list[str]:
    assert main(["read", str(path), *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_line_an_event(path, capsys):
    lines = read(path, capsys)
    assert len(lines) == 6
    assert lines[0].split() == ["0", "2024-08-08T23:54:13.937085768Z", "trade", "spot:X@0", '{"n":0}']
    assert lines[4].endswith('{"text":"grüße"}')
    assert "40 bytes: 00 01 02" in lines[5]


def test_as_json_each_line_is_one_event(path, capsys):
    events = [json.loads(line) for line in read(path, capsys, "--json")]
    assert [event["seq"] for event in events] == list(range(6))
    assert events[1]["data"] == {"n": 1}
    assert events[1]["event_time_ns"] == TIME_NS + 1
    assert (events[1]["aggregate_id"], events[1]["aggregate_version"]) == ("spot:X", 1)
    assert events[3]["data"] == {"pretty": [1]}
    assert events[3]["tags"] == {"k": "v", "l": "a=b"}
    assert events[5]["data_base64"].startswith("AAECAw")


def test_raw_prints_the_stored_bytes(path, capfdbinary):
    assert main(["read", str(path), "--raw", "--after", "2"]) == 0
    assert (
        capfdbinary.readouterr().out
        == b'{ "pretty" :\n  [1] }\n{"text":"gr\xc3\xbc\xc3\x9fe"}\n' + bytes(range(40)) + b"\n"
    )


@pytest.mark.parametrize(
    ("arguments", "seqs"),
    [
        (["--after", "3"], [4, 5]),
        (["--up-to", "1"], [0, 1]),
        (["--limit", "2"], [0, 1]),
        (["--limit", "0"], []),
        (["--type", "note"], [3, 4]),
        (["--type", "note", "--type", "blob"], [3, 4, 5]),
        (["--aggregate", "spot:X", "--after", "0"], [1, 2]),
        (["--since", str(TIME_NS + 1), "--until", str(TIME_NS + 2), "--time", "event"], [1]),
        (["--until", "2024-08-08T23:54:14Z", "--time", "event"], [0, 1, 2]),
        (["--until", "2024-08-08T23:54:14+00:00"], []),
        (["--durable"], [0, 1, 2, 3, 4, 5]),
        (["--type", "nothing"], []),
        (["--type", "no*"], [3, 4]),
        (["--correlation", "talk"], [4]),
        (["--source", "spot", "--limit", "1"], [0]),
        (["--source", ""], [3, 4, 5]),
        (["--tag", "k=v"], [3, 4]),
        (["--tag", "k=v", "--tag", "l=a=b"], [3]),
        (["--tag", "k="], []),
        (["--backward"], [5, 4, 3, 2, 1, 0]),
        (["--backward", "--limit", "2"], [5, 4]),
        (["--backward", "--type", "trade", "--up-to", "1"], [1, 0]),
    ],
)
def test_filters(arguments, seqs, path, capsys):
    assert [json.loads(line)["seq"] for line in read(path, capsys, "--json", *arguments)] == seqs


def test_follow_shows_what_comes(path):
    command = [
        sys.executable,
        "-m",
        "aresbus",
        "read",
        str(path),
        "--follow",
        "--after",
        "4",
        "--limit",
        "3",
        "--type",
        "*",
        "--source",
        "",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["seq"] == 5
        with aresbus.open(path) as log:
            log.append("of a source", {}, source="spot")
            log.append("late", {})
            assert json.loads(process.stdout.readline())["seq"] == 7
        with aresbus.open(path) as log:
            log.append("later", {})
        out, err = process.communicate(timeout=30)
    assert json.loads(out)["event_type"] == "later"
    assert (process.returncode, err) == (0, b"")


def test_a_time_has_all_its_digits():
    assert time_text(TIME_NS) == "2024-08-08T23:54:13.937085768Z"
    assert time_text(-1) == "1969-12-31T23:59:59.999999999Z"
    assert time_text(None) == "-"


def test_a_terminal_gets_one_row_and_no_control_characters():
    assert fitted("a\x1b[31m\x9bb", 80) == "a�[31m�b"
    assert fitted("x" * 100, 80) == "x" * 79 + "…"


def test_info_as_text(path, capsys):
    assert main(["info", str(path)]) == 0
    rows = dict(line.strip().split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["log"] == str(path)
    assert rows["events"] == "6 (seq 0 to 5)"
    assert rows["durable"] == "up to seq 5"
    assert rows["aggregates"] == "1"
    assert rows["epoch"] == "1 (0 unclean ends before)"
    assert rows["state"] == "closed cleanly"


def test_info_as_json(path, capsys):
    assert main(["info", str(path), "--json"]) == 0
    shape = json.loads(capsys.readouterr().out)
    assert (shape["event_count"], shape["last_seq"], shape["epoch"]) == (6, 5, 1)
    assert shape["first_append_ns"] <= shape["last_append_ns"]
    assert shape["opening"]["clean"]


def test_info_beside_a_writer_and_after_its_death(path, capsys):
    code = "import aresbus, sys; log = aresbus.open(sys.argv[1]); log.append('x', {}); print('go', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"go\n"
        assert main(["info", str(path)]) == 0
        assert "7 (seq 0 to 6)" in capsys.readouterr().out
        process.send_signal(signal.SIGKILL)
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "7 (seq 0 to 6)" in text
    assert "closed cleanly" not in text


def test_verify_a_whole_log(path, capsys):
    assert main(["verify", str(path)]) == 0
    out = capsys.readouterr().out
    assert "6 events in 1 segment" in out
    assert "are whole" in out
    assert main(["verify", str(path), "--json"]) == 0
    shape = json.loads(capsys.readouterr().out)
    assert shape["ok"]
    assert next(result["events"] for result in shape["checked"].values()) == 6


def test_verify_names_the_damage_and_exits_with_1(path, capsys):
    segment = min((path / "segments").glob("*.log"))
    damaged = bytearray(segment.read_bytes())
    at = damaged.index(b'{"n":1}')
    damaged[at] ^= 0x01
    segment.write_bytes(damaged)
    assert main(["verify", str(path)]) == 1
    assert segment.name in capsys.readouterr().out
    assert main(["verify", str(path), "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["checked"][str(path)]["findings"][:1]
    assert finding["severity"] == "error"
    assert finding["offset"] <= at
    assert main(["read", str(path)]) == 2
    assert "[AB0006]" in capsys.readouterr().err


def test_verify_looks_into_the_audit_log_too(path, capsys):
    if not (path / "audit").is_dir():
        pytest.skip("no audit log was written")
    segment = min((path / "audit" / "segments").glob("*.log"))
    damaged = bytearray(segment.read_bytes())
    damaged[damaged.index(b'"')] ^= 0x01
    segment.write_bytes(damaged)
    assert main(["verify", str(path)]) == 1
    assert f"audit{os.sep}segments" in capsys.readouterr().out
