"""``aresbus record``: what arrives in the log, which lines are named, and how it ends early."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aresbus
import pytest
from aresbus.cli import main, record as cli_record

LINES = (
    b'1723161253937085768 {"stream":"btcusdt@depth@100ms","data":{"s":"BTCUSDT","b":[["1.0","2"]]}}',
    b'1723161254206652067 {"lastUpdateId":1,"bids":[],"asks":[]}',
    b'1723161254087891268 {"stream":"btcusdt@bookTicker","data":{"s":"BTCUSDT","b":"61837.63"}}',
)


def feed(tmp_path: Path, *lines: bytes, packed: bool = False) -> Path:
    path = tmp_path / "feed"
    text = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(text) if packed else text)
    return path


def record(file: Path, log: Path, *extra: str) -> int:
    return main(["record", str(file), "--log", str(log), "--source", "spot", *extra])


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_feed_is_stored_byte_for_byte(packed, tmp_path, capsys):
    assert record(feed(tmp_path, *LINES, packed=packed), tmp_path / "log") == 0
    with aresbus.open(tmp_path / "log", mode="r") as log:
        events = list(log.read())
    assert [event.raw for event in events] == [line.split(b" ", 1)[1] for line in LINES]
    assert [str(event.event_type) for event in events] == ["depth", "snapshot", "bookTicker"]
    assert [event.aggregate_id for event in events] == ["spot:BTCUSDT", None, "spot:BTCUSDT"]
    assert [event.aggregate_version for event in events] == [0, None, 1]
    assert [event.event_time_ns for event in events] == [int(line.split(b" ")[0]) for line in LINES]
    assert {event.source for event in events} == {"spot"}
    captured = capsys.readouterr()
    assert captured.out.startswith("3 events stored, the last at seq 2: ")
    assert captured.err == ""


def test_a_bad_line_is_named_and_the_rest_goes_on(tmp_path, capsys):
    file = feed(tmp_path, LINES[0], b"garbage", LINES[1], b"17 {", LINES[2])
    assert record(file, tmp_path / "log") == 1
    captured = capsys.readouterr()
    assert f"{file}:2: no receive time" in captured.err
    assert f"{file}:4: no JSON" in captured.err
    assert "2 bad lines left out" in captured.out
    with aresbus.open(tmp_path / "log", mode="r") as log:
        assert log.last_seq == 2


def test_what_the_log_refuses_is_a_bad_line_too(tmp_path, capsys):
    long_type = b'1 {"stream":"a@' + b"t" * 256 + b'","data":{}}'
    assert record(feed(tmp_path, LINES[0], long_type, LINES[1]), tmp_path / "log") == 1
    assert ":2: [AB0009]" in capsys.readouterr().err
    with aresbus.open(tmp_path / "log", mode="r") as log:
        assert log.last_seq == 1


def test_many_bad_lines_are_counted_and_some_are_shown(tmp_path, capsys):
    assert record(feed(tmp_path, *[b"bad"] * 100, LINES[0]), tmp_path / "log") == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 21
    assert "… and 80 bad lines more" in captured.err
    assert "100 bad lines left out" in captured.out


def test_as_json(tmp_path, capsys):
    assert record(feed(tmp_path, LINES[0], b"bad", LINES[1]), tmp_path / "log", "--json") == 1
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert captured.err == ""
    assert (said["events"], said["bad_lines"], said["last_seq"], said["interrupted"]) == (2, 1, 1, False)
    assert said["bad"] == [{"line": 2, "reason": "no receive time and JSON text with one space between"}]
    assert said["types"] == {"depth": 1, "snapshot": 1}


def test_standard_input(tmp_path, capsys, monkeypatch):
    text = gzip.compress(b"\n".join(LINES))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text))))
    assert record(Path("-"), tmp_path / "log") == 0
    with aresbus.open(tmp_path / "log", mode="r") as log:
        assert [event.raw for event in log.read()] == [line.split(b" ", 1)[1] for line in LINES]


def test_a_feed_that_breaks_off_is_a_finding(tmp_path, capsys):
    lines = [b'%d {"n":"%s"}' % (n, os.urandom(8).hex().encode()) for n in range(10_000)]
    file = feed(tmp_path, *lines, packed=True)
    file.write_bytes(file.read_bytes()[:-1000])
    assert record(file, tmp_path / "log") == 1
    assert "damaged or cut off here" in capsys.readouterr().err
    with aresbus.open(tmp_path / "log", mode="r") as log:
        stored = [event.raw for event in log.read()]
    assert 0 < len(stored) < len(lines)
    assert stored == [line.split(b" ", 1)[1] for line in lines[: len(stored)]]


def test_an_empty_feed_makes_an_empty_log(tmp_path, capsys):
    assert record(feed(tmp_path), tmp_path / "log") == 0
    assert capsys.readouterr().out.startswith("0 events stored: ")
    assert main(["info", str(tmp_path / "log")]) == 0
    assert main(["read", str(tmp_path / "log")]) == 0
    assert main(["verify", str(tmp_path / "log")]) == 0


def test_recording_twice_appends(tmp_path):
    file = feed(tmp_path, *LINES)
    assert record(file, tmp_path / "log") == record(file, tmp_path / "log") == 0
    with aresbus.open(tmp_path / "log", mode="r") as log:
        assert log.last_seq == 5
        assert log.aggregate_version("spot:BTCUSDT") == 3


def test_a_missing_file_makes_no_log(tmp_path, capsys):
    assert record(tmp_path / "nothing", tmp_path / "log") == 2
    assert "No such file or directory" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()
    assert record(tmp_path, tmp_path / "log") == 2


def test_a_log_that_takes_no_more_ends_it_and_says_how_far_it_got(tmp_path, capsys, monkeypatch):
    store = cli_record.append_message

    def full_after_two(log, message, source):
        if log.last_seq == 1:
            raise aresbus.DiskFullError("no room for the next segment", path=log.path)
        return store(log, message, source)

    monkeypatch.setattr(cli_record, "append_message", full_after_two)
    assert record(feed(tmp_path, *LINES), tmp_path / "log") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "aresbus: stopped at line 3: 2 events stored, the last at seq 1"
    assert second.startswith("aresbus: [AB0002] no room for the next segment. ")
    with aresbus.open(tmp_path / "log") as log:
        assert (log.last_seq, log.recovery["clean"]) == (1, True)


def test_ctrl_c_closes_cleanly_and_says_how_far_it_got(tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-m", "aresbus", "record", "-", "--log", str(log), "--source", "spot"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(b"".join(line + b"\n" for line in LINES))
        process.stdin.flush()
        wait_for_events(log, 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.startswith(b"3 events stored, the last at seq 2: ")
    assert err == b"interrupted at line 3; the log was closed cleanly\n"
    with aresbus.open(log) as opened:
        assert opened.recovery["clean"]
        assert opened.last_seq == 2


def wait_for_events(path: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with aresbus.open(path, mode="r") as log:
                log.wait(count - 2, timeout=10)
                return
        except FileNotFoundError:
            time.sleep(0.01)
    pytest.fail(f"{path} never came to hold {count} events")
