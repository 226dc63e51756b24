"""``aresbus replay``: events when they are due, a strategy's decisions and their digest, and what is refused."""

import json
import subprocess
import sys

import aresbus
import pytest
from aresbus import digest_of
from aresbus.cli import main
from replay_support import SECOND_NS, START_NS, write_ticks

STRATEGY = """
from aresbus import register_event_type, sink
import beside

TICK, ORDER = register_event_type("tick"), register_event_type("order")

@sink("broker")
def send(): raise AssertionError

class Plain:
    def __init__(self, bus):
        self.bus = bus
        bus.subscribe(TICK, self.on_tick)
    async def on_tick(self, event):
        send()
        if event.data["n"] % beside.EVERY == 0:
            await self.bus.publish(ORDER, {"qty": event.data["n"]})

async def later(bus):
    Plain(bus)

def broken(bus):
    raise LookupError("no such thing")

def failing(bus):
    bus.subscribe(TICK, lambda event: 1 / 0)

NOTHING = 7
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "random.py").write_text(STRATEGY)  # named like a module of Python's own, as happens
    (tmp_path / "beside.py").write_text("EVERY = 2\n")
    write_ticks(tmp_path / "log").close()
    yield tmp_path
    for name in [
        name for name in sys.modules if name in ("beside", "mine") or name.startswith("aresbus_strategy")
    ]:
        del sys.modules[name]


def printed(capsys, *arguments):
    assert main(["replay", "log", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


def test_without_a_strategy_the_events_are_printed(folder, capsys):
    lines = printed(capsys, "--after", 6)
    assert [json.loads(line.split()[-1])["n"] for line in lines] == [7, 8, 9]
    lines = printed(capsys, "--json", "--until", START_NS + SECOND_NS, "--aggregate", "m0")
    assert [json.loads(line)["data"] for line in lines] == [{"n": 0}]
    assert printed(capsys, "--without", "tick") == []


def test_a_strategy_is_found_in_a_file_and_what_it_publishes_is_printed(folder, capsys):
    import random

    *lines, count, held, digest, given = printed(capsys, "--strategy", "random.py:Plain")
    assert [json.loads(line.split()[-1])["qty"] for line in lines] == [0, 2, 4, 6, 8]
    assert count == "10 events replayed up to seq 9, 5 published"
    assert held == "held back: 10 × broker"
    assert len(digest.split()[1]) == len(given.split()[1]) == 64
    assert sys.modules["random"] is random


def test_a_strategy_may_be_a_module_and_a_coroutine_function(folder, capsys):
    (folder / "random.py").rename(folder / "mine.py")
    first = printed(capsys, "--strategy", "mine:later")
    assert first == printed(capsys, "--strategy", "mine:Plain")


def test_json_is_one_object_a_line_and_the_report_comes_last(folder, capsys):
    *lines, last = [json.loads(line) for line in printed(capsys, "--strategy", "random.py:Plain", "--json")]
    assert [line["data"]["qty"] for line in lines] == [0, 2, 4, 6, 8]
    assert (last["replayed"], last["published"], last["is_finished"]) == (10, 5, True)
    with aresbus.Log(None) as log, aresbus.open(folder / "log", mode="r") as day:
        for event in day.read():
            if event.data["n"] % 2 == 0:
                log.append("order", {"qty": event.data["n"]}, correlation_id=event.event_id)
        assert last["digest"] == digest_of(log.read())


def test_digest_alone_prints_no_events(folder, capsys):
    (line,) = printed(capsys, "--digest", "--json")
    report = json.loads(line)
    assert (report["replayed"], report["published"], report["digest"]) == (10, 0, digest_of(()))


def test_it_waits_for_the_recorded_time(folder):
    """Two ticks an hour apart: the second one is not printed, and Ctrl-C ends the wait."""
    write_ticks(folder / "slow", 2, gap_ns=3_600 * SECOND_NS).close()
    command = [sys.executable, "-m", "aresbus", "replay", str(folder / "slow"), "--speed", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert line.endswith('{"n":0}\n'), process.stderr.read()
        process.send_signal(2)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "aresbus: interrupted\n")


def test_a_high_speed_gets_to_the_end(folder, capsys):
    assert len(printed(capsys, "--speed", "1e6")) == 10


@pytest.mark.parametrize(
    ("strategy", "says"),
    [
        ("nowhere:Plain", "nowhere"),
        ("nowhere.py:Plain", "no file nowhere.py"),
        ("random.py:Missing", "Missing"),
        ("random.py:NOTHING", "int cannot be called"),
        ("faulty.py:Plain", "SyntaxError"),
        ("random.py:broken", "no such thing"),
        ("random.py:failing", "ZeroDivisionError"),
    ],
)
def test_a_strategy_that_cannot_be_had_or_fails_is_one_line_and_2(folder, capsys, strategy, says, caplog):
    caplog.set_level(100)
    (folder / "faulty.py").write_text("def Plain(:\n")
    assert main(["replay", "log", "--strategy", strategy]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.startswith("aresbus: [AB00")
    assert captured.err.count("\n") == 1
    assert "bug in aresbus" not in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--speed", "0"],
        ["--speed", "-1"],
        ["--speed", "nan"],
        ["--speed", "fast"],
        ["--strategy", "plain"],
        ["--strategy", ":x"],
        ["--strategy", "x:"],
        ["--since", "yesterday"],
        ["--up-to", "-1"],
        ["--time", "never"],
    ],
)
def test_a_usage_error_exits_with_2(folder, arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(["replay", "log", *arguments])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage:")


def test_a_missing_log_is_one_line_and_2(folder, capsys):
    assert main(["replay", str(folder / "nothing")]) == 2
    assert capsys.readouterr().err == f"aresbus: there is no log in {folder / 'nothing'}\n"
