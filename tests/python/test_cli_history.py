"""``aresbus trace``, ``latency``, ``audit`` and ``audit export``: what they print, for people and programs, and their exit codes."""

import json

import aresbus
import pytest
from aresbus import actor, latency_between, read_acts, trace
from bad_day_support import aresbus_command, aresbus_process, flip


@pytest.fixture
def path(tmp_path):
    """A log with one conversation of three events, and an act of alice's."""
    with aresbus.open(tmp_path / "log") as log:
        log.append("tick", 1, event_id="t1")
        log.append("analysis", 1, event_id="a1", correlation_id="t1", causation_id="t1")
        log.append("trade", 1, correlation_id="t1", causation_id="a1", source="desk\x1b[31m")
        log.append("tick", 2, aggregate_id="x")
        with actor("alice", reason="new\x1b[31m field"), pytest.raises(KeyError), log.act("schema.register"):
            raise KeyError("taken")
    return tmp_path / "log"


def test_trace_prints_the_tree(path):
    done = aresbus_command("trace", path, "t1")
    assert (done.returncode, done.stderr) == (0, "")
    with aresbus.open(path, mode="r") as log:
        found = trace(log, "t1")
    assert done.stdout == found.text() + "\n"
    assert "\x1b" not in done.stdout
    assert json.loads(aresbus_command("trace", path, "t1", "--json").stdout) == found.to_dict()


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_conversation_that_is_not_there_exits_with_2(path, options):
    done = aresbus_command("trace", path, "no\x1bne", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has the correlation id no�ne" in done.stderr


def test_latency_prints_the_report(path):
    done = aresbus_command("latency", path, "tick", "trade")
    assert (done.returncode, done.stderr) == (0, "")
    with aresbus.open(path, mode="r") as log:
        report = latency_between(log, "tick", "trade")
    assert done.stdout == report.text() + "\n"
    assert json.loads(aresbus_command("latency", path, "tick", "trade", "--json").stdout) == report.to_dict()


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ((), (1, 1, 0)),
        (("--by", "causation"), (0, 2, 1)),
        (("--by", "aggregate"), (0, 2, 1)),
        (("--after", "0"), (0, 1, 1)),
        (("--up-to", "1"), (0, 1, 0)),
        (("--since", "2100-01-01T00:00:00Z"), (0, 0, 0)),
        (("--until", "0"), (0, 0, 0)),
    ],
)
def test_latency_takes_a_range_and_a_way_of_pairing(path, options, counts):
    plain = json.loads(aresbus_command("latency", path, "tick", "trade", "--json", *options).stdout)
    assert (plain["count"], plain["unmatched_first"], plain["unmatched_second"]) == counts


def test_audit_lists_the_acts(path):
    done = aresbus_command("audit", path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines[1:-1]] == ["log.open", "schema.register", "log.close"]
    assert "failed" in lines[2]
    assert "alice (" in lines[2]
    assert "new�[31m field" in lines[2]
    assert "KeyError: 'taken'" in lines[2]
    assert lines[-1] == "3 acts"


def test_audit_gives_programs_whole_acts(path):
    plain = json.loads(aresbus_command("audit", path, "--json").stdout)
    assert plain == {"acts": [act.to_dict() for act in read_acts(path)], "unreadable": []}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--act", "log.open"), ["log.open"]),
        (("--actor", "alice"), ["schema.register"]),
        (("--outcome", "failed"), ["schema.register"]),
        (("--outcome", "open"), []),
        (("--since", "2100-01-01T00:00:00Z"), []),
        (("--until", "2100-01-01T00:00:00Z", "--outcome", "done"), ["log.open", "log.close"]),
    ],
)
def test_audit_filters(path, options, names):
    plain = json.loads(aresbus_command("audit", path, "--json", *options).stdout)
    assert [act["name"] for act in plain["acts"]] == names


def test_looking_is_no_act(path):
    before = sorted(path.rglob("*"))
    for words in (("trace", path, "t1"), ("latency", path, "a", "b"), ("audit", path)):
        assert aresbus_command(*words).returncode == 0
    assert sorted(path.rglob("*")) == before


def test_a_trail_that_cannot_be_read_hides_no_other_and_exits_with_1(path):
    with aresbus.open(path, mode="r") as log, log.act("export"):
        pass
    flip(path / "audit/segments/0000000000000001.log", 12_288 + 20)
    done = aresbus_command("audit", path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 act"
    assert done.stderr.startswith("aresbus: [AB0006]")
    plain = json.loads(aresbus_command("audit", path, "--json").stdout)
    assert [one["code"] for one in plain["unreadable"]] == ["AB0006"]


def test_audit_export_writes_the_files_and_is_recorded(path, tmp_path):
    done = aresbus_process("audit", "export", "--csv", path, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"3 acts of {path} → {tmp_path / 'out'}\n")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "acts.csv",
        "acts.jsonl",
        "manifest.json",
    ]
    (act,) = read_acts(path, act="audit.export")
    assert act.trail != "writer"
    again = aresbus_command("audit", "export", path, "--out", tmp_path / "out")
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert str(tmp_path / "out") in again.stderr


def test_audit_export_gives_programs_the_manifest(path, tmp_path):
    done = aresbus_command("audit", "export", path, "--out", tmp_path / "out", "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out/manifest.json").read_text())


def test_into_the_log_is_refused_in_one_line(path):
    done = aresbus_command("audit", "export", path, "--out", path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("aresbus: an export goes beside the log")


@pytest.mark.parametrize(
    "words", [("trace", "x"), ("latency", "a", "b"), ("audit",), ("audit", "export", "--out", "o")]
)
def test_a_missing_log_is_one_line_and_2(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    verb = words[:2] if words[1:2] == ("export",) else words[:1]
    done = aresbus_command(*verb, tmp_path / "nothing", *words[len(verb) :])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("trace", "x"),
        ("latency", "x", "a"),
        ("latency", "x", "a", "b", "--by", "time"),
        ("audit",),
        ("audit", "x", "--outcome", "lost"),
        ("audit", "x", "--since", "yesterday"),
        ("audit", "export", "x"),
        ("audit", "exports", "x"),
    ],
)
def test_a_usage_error_exits_with_2(words, capsys):
    with pytest.raises(SystemExit) as left:
        aresbus_command(*words)
    assert left.value.code == 2
