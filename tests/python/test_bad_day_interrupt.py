"""Ctrl-C: in each verb of the command line, and in scripts that append, follow, wait, or run a bus.

It ends what runs at once, says so in a line or as KeyboardInterrupt, and what was acknowledged is there.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aresbus
import pytest
from bad_day_support import PATIENCE_SECONDS, child, heard, heard_out, make_log, numbers

INTERRUPTED = 130
LINE = b'1723161253937085768 {"stream":"btcusdt@trade","data":{"s":"BTCUSDT","n":%d}}\n'


def start(*arguments, **options) -> subprocess.Popen:
    """A command line with a process group of its own, as a terminal gives it."""
    command = [sys.executable, "-m", "aresbus", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options
    )


def until(condition, process):
    """Look until it holds; a process that ends before that, or is too slow, fails the test."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)
    return found


def ended(process, *, how=os.killpg):
    """Ctrl-C to its group; how it ended and what it said."""
    how(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert b"Traceback" not in err
    return process.returncode, out, err


def holds(path, count) -> bool:
    """Whether the log is there and holds so many events."""
    try:
        with aresbus.open(path, mode="r") as log:
            return (log.last_seq or 0) + 1 >= count
    except FileNotFoundError:
        return False


def has_mapped(process, path) -> bool:
    """Whether the process is at the files of the log."""
    maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    return f"{path}/segments" in maps


# Verbs


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_record_from_a_pipe_that_is_still_open(tmp_path, flags):
    log = tmp_path / "log"
    process = start("record", "-", "--log", log, "--source", "s", *flags, stdin=subprocess.PIPE)
    process.stdin.write(b"".join(LINE % number for number in range(1_000)))
    process.stdin.flush()
    until(lambda: holds(log, 1_000), process)
    code, out, err = ended(process)
    assert code == INTERRUPTED
    if flags:
        said = json.loads(out)
        assert (said["interrupted"], said["events"], said["last_seq"]) == (True, 1_000, 999)
    else:
        assert out.startswith(b"1,000 events stored, the last at seq 999")
        assert err == b"interrupted at line 1,000; the log was closed cleanly\n"
    with aresbus.open(log) as opened:
        assert opened.recovery["clean"]
        assert opened.last_seq == 999


def test_record_in_the_middle_of_a_file(tmp_path):
    log, feed = tmp_path / "log", tmp_path / "feed"
    feed.write_bytes(b"".join(LINE % number for number in range(300_000)))
    process = start("record", feed, "--log", log, "--source", "s")
    until(lambda: holds(log, 100), process)
    code, out, err = ended(process)
    assert code == INTERRUPTED
    assert b"the log was closed cleanly" in err
    with aresbus.open(log) as opened:
        assert opened.recovery["clean"]
        stored = [event.data["data"]["n"] for event in opened.read()]
    assert stored == list(range(len(stored)))
    assert 100 <= len(stored) < 300_000
    assert out.startswith(f"{len(stored):,} events stored".encode())


def test_reading_into_a_pipe_that_nobody_empties(tmp_path):
    log = make_log(tmp_path / "log", 2_000, padding=1_000)
    process = start("read", log, "--raw")
    first = os.read(process.stdout.fileno(), 7)
    code, out, err = ended(process)
    assert code == INTERRUPTED
    assert err == b"aresbus: interrupted\n"
    assert (first + out).startswith(b'[0,"xxx')


@pytest.mark.parametrize("flags", [(), ("--json",), ("--raw",)], ids=["text", "json", "raw"])
def test_following_ends_well_since_that_is_the_way_to_end_it(tmp_path, flags):
    log = make_log(tmp_path / "log", 3)
    with aresbus.open(log) as writer:
        process = start("read", log, "--follow", *flags)
        first = [process.stdout.readline() for _ in range(3)]
        writer.append("note", "live")
        fourth = process.stdout.readline()
        assert b"live" in fourth
        code, rest, err = ended(process)
    assert (code, rest, err) == (0, b"", b"")
    assert all(first)


def test_following_an_empty_log(tmp_path):
    log = make_log(tmp_path / "log", 0)
    process = start("read", log, "--follow")
    until(lambda: has_mapped(process, log), process)
    time.sleep(0.1)  # from the opening into the wait
    assert ended(process)[::2] == (0, b"")


@pytest.fixture(scope="module")
def large_log(tmp_path_factory):
    """A log that takes verify a while: 600,000 events."""
    path = tmp_path_factory.mktemp("large") / "log"
    with aresbus.open(path, segment_bytes=256 * 1024 * 1024, durability="none") as log:
        for _ in range(120):
            log.append_many([("note", "x")] * 5_000)
    return path


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["text", "json"])
def test_verify(large_log, flags):
    process = start("verify", large_log, *flags)
    until(lambda: has_mapped(process, large_log), process)
    code, out, err = ended(process)
    assert code == INTERRUPTED
    assert out == b""
    assert err == b"aresbus: interrupted\n"


@pytest.mark.parametrize("how", [os.killpg, os.kill], ids=["as a terminal does", "to the parent alone"])
def test_the_demo_takes_its_recorder_with_it(tmp_path, how):
    log = tmp_path / "log"
    process = start("demo", "--log", log)
    until(lambda: holds(log, 50), process)
    recorders = children_of(process.pid)
    assert recorders
    code, _, err = ended(process, how=how)
    assert code == INTERRUPTED
    assert err.endswith(b"aresbus: interrupted\n")
    assert not any(Path(f"/proc/{pid}").exists() for pid in recorders)
    with aresbus.open(log) as opened:
        assert opened.last_seq >= 49
        assert opened.verify()["findings"] == []


def children_of(pid) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


# Scripts


LOOPS = ["append", "append_durably", "append_many", "append_in_threads"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_script_that_appends(tmp_path, loop):
    log = tmp_path / "log"
    with child(loop, log) as process:
        heard(process)
        acknowledged = [int(heard(process)) for _ in range(20)]
        process.send_signal(signal.SIGINT)
        out, err = heard_out(process)
    acknowledged += [int(line) for line in out.split()]
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    with aresbus.open(log) as opened:
        assert opened.recovery["clean"], "the with block closed it"
        stored = [event.data for event in opened.read()]
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored)), "once each"


WAITS = ["follow", "wait", "follow_as_reader", "wait_durable_never"]


@pytest.mark.parametrize("wait", WAITS)
def test_a_script_that_waits(tmp_path, wait):
    log = make_log(tmp_path / "log")
    with child(wait, log) as process:
        assert heard(process) == "waiting"
        time.sleep(0.05)  # from the word into the wait
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert numbers(log) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("way", ["run_bus", "enter_bus"])
def test_a_script_that_runs_a_bus(tmp_path, way):
    with child(way, tmp_path / "log") as process:
        acknowledged = [int(heard(process)) for _ in range(20)]
        process.send_signal(signal.SIGINT)
        out, err = heard_out(process)
    acknowledged += [int(line) for line in out.split()]
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "never awaited" not in err
    with aresbus.open(tmp_path / "log") as opened:
        assert opened.recovery["clean"]
        assert {event.data for event in opened.read()} >= set(acknowledged)
