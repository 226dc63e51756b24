"""``aresbus top``: rates of a log that grows, in JSON, in a pipe and on a terminal; hostile names; Ctrl-C."""

import json
import signal
import subprocess
import sys
import threading

import aresbus
import pytest
from aresbus.cli import main
from aresbus.cli.glimpse import NEWEST_EVENTS, Glimpse
from terminal_support import on_terminal


@pytest.fixture
def log(tmp_path):
    with aresbus.open(tmp_path / "log", reason="a test") as log:
        for number in range(100):
            log.append(f"type{number % 3}", {"n": number}, aggregate_id=f"a{number % 7}")
        yield log


def test_a_frame_says_what_is_in_the_log(log):
    with Glimpse(log.path) as glimpse:
        frame = glimpse.look()
    assert (frame["first_seq"], frame["last_seq"], frame["event_count"]) == (0, 99, 100)
    assert frame["aggregate_count"] == 7
    assert frame["events_per_second"] is None
    newest = frame["types"][0]
    assert (newest["event_type"], newest["last_seq"], newest["aggregate_id"]) == ("type0", 99, "a1")
    assert {one["event_type"]: one["count"] for one in frame["types"]} == {
        "type0": 34,
        "type1": 33,
        "type2": 33,
    }
    assert frame["used_bytes"] == frame["segments"][0]["used_bytes"]
    assert [(one["act"], one["phase"], one["reason"]) for one in frame["acts"]] == [
        ("log.open", "intent", "a test"),
        ("log.open", "done", "a test"),
    ]


def test_rates_are_those_between_two_looks(log):
    with Glimpse(log.path) as glimpse:
        glimpse.look()
        for number in range(50):
            log.append("type9", {"n": number})
        frame = glimpse.look()
    assert frame["events_per_second"] * frame["seconds"] == pytest.approx(50)
    assert frame["bytes_per_second"] * frame["seconds"] > 50 * 48
    assert frame["types"][0]["count"] == 50


def test_a_look_reads_no_more_than_it_shows(tmp_path, monkeypatch):
    with aresbus.open(tmp_path / "log", durability="none") as log:
        log.append_many([("old", 0)] * 10)
        with Glimpse(tmp_path / "log") as glimpse:
            glimpse.look()
            for _ in range(3):
                log.append_many([("new", 0)] * NEWEST_EVENTS)
            first_read = []
            read = glimpse._log.read
            glimpse._log = Reading(glimpse._log, lambda **at: first_read.append(at["after"]) or read(**at))
            frame = glimpse.look()
    assert first_read == [2 * NEWEST_EVENTS + 9]
    assert [(one["event_type"], one["count"]) for one in frame["types"]] == [("new", NEWEST_EVENTS)]


class Reading:
    """A log whose read is watched."""

    def __init__(self, log, read):
        self.read, self.stats, self.close, self.last_seq = read, log.stats, log.close, log.last_seq


def test_segments_and_writers_come_and_go_while_it_looks(tmp_path):
    with aresbus.open(tmp_path / "log", segment_bytes=1 << 20) as log:
        log.append("first", 0)
        glimpse = Glimpse(tmp_path / "log")
        glimpse.look()
        for _ in range(40):
            log.append("big", "x" * 60_000)
        assert glimpse.look()["segment_count"] > 1
    with aresbus.open(tmp_path / "log") as log:
        log.append("second", 0)
        frame = glimpse.look()
        assert (frame["last_seq"], frame["types"][0]["event_type"]) == (41, "second")
    assert [one["act"] for one in glimpse.look()["acts"]][-1] == "log.close"
    glimpse.__exit__(None, None, None)


def test_an_empty_log_and_one_without_audit_are_shown(tmp_path, capsys):
    with aresbus.open(tmp_path / "log", audit=False):
        assert main(["top", str(tmp_path / "log"), "--once", "--interval", "0.01"]) == 0
    text = capsys.readouterr().out
    assert "none yet" in text
    assert "done to the log" not in text


def test_an_audit_log_that_is_damaged_is_said_and_the_rest_shown(tmp_path, capsys):
    with aresbus.open(tmp_path / "log") as log:
        log.append("note", 1)
    for meta in (tmp_path / "log" / "audit").glob("META"):
        meta.write_bytes(b"x" * 8192)
    assert main(["top", str(tmp_path / "log"), "--once", "--interval", "0.01"]) == 0
    text = capsys.readouterr().out
    assert "cannot be read" in text
    assert "note" in text


def test_once_with_json_is_one_object(log, capsys):
    assert main(["top", str(log.path), "--once", "--json", "--interval", "0.05"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    frame = json.loads(line)
    assert frame["events_per_second"] == 0
    assert frame["last_seq"] == 99


def test_in_a_pipe_frames_follow_each_other_until_ctrl_c_which_is_no_error(log):
    command = [sys.executable, "-m", "aresbus", "top", str(log.path), "--json", "--interval", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        frames = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert [frame["last_seq"] for frame in frames] == [99, 99, 99]
    assert (process.returncode, errors) == (0, b"")


def test_names_out_of_the_log_cannot_steer_the_terminal(tmp_path, capsys):
    with aresbus.open(tmp_path / "log") as log:
        log.append("\x1b[31mred\x07", 1, aggregate_id="a\x1b]0;title\x07" + "b" * 500)
        assert main(["top", str(tmp_path / "log"), "--once", "--interval", "0.01"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "red" in text
    assert max(map(len, text.splitlines())) < 250


def test_on_a_terminal_frames_are_drawn_in_place_while_the_log_grows(log):
    stop = threading.Event()

    def grow():
        while not stop.wait(0.001):
            log.append("growing", 1)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        shown = on_terminal("top", log.path, "--interval", "0.1", until="growing")
    finally:
        stop.set()
        writer.join()
    assert shown.code == 0
    assert "events/s" in shown.text
    assert "newest segments" in shown.text
    assert "╭" in shown.text
    assert "\x1b[?25h" in shown.text  # the cursor is given back
    assert "Traceback" not in shown.text


def test_on_a_small_terminal_it_still_ends_well(log):
    shown = on_terminal("top", log.path, "--interval", "0.1", until="events", size=(8, 30))
    assert shown.code == 0
    assert "Traceback" not in shown.text


def test_once_on_a_terminal_leaves_the_frame(log):
    shown = on_terminal("top", log.path, "--once", "--interval", "0.05")
    assert shown.code == 0
    assert "type0" in shown.text
    assert "done to the log" in shown.text
