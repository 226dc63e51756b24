"""Anchors that store themselves: where they go and when, what a failing target costs, and what the bus says of it."""

import asyncio
import json
import os
import socket
import stat
import sys
import time
import weakref

import aresbus
import pytest
from aresbus import AnchorTo, heads_in
from aresbus.anchoring import append_line
from bus_support import make_bus, run

OFTEN = 0.0005  # minutes


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_heads_go_to_a_file_at_opening_in_between_and_at_close(tmp_path):
    file = tmp_path / "heads"
    with aresbus.open(tmp_path / "log", anchor_to=AnchorTo(file=file, every_minutes=OFTEN)) as log:
        until(lambda: log.anchors.stored == 1)
        log.append("n", {})
        log.sync()
        until(lambda: log.anchors.stored == 2)
        log.append("n", {}, durability="none")
    assert log.anchors.problem is None
    heads = heads_in(file.read_text())
    assert [head.tree_size for head in heads] == [0, 1, 2]
    assert log.anchors.head == heads[-1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text().splitlines()[0])["at_ns"] > 0
    assert aresbus.verify(log.path, against=heads)["findings"] == []
    (opening,) = aresbus.read_acts(log.path, act="log.open")
    assert opening.details["anchor_to"]["file"] == str(file)


def test_a_head_that_says_nothing_new_is_not_written_again(tmp_path):
    file = tmp_path / "heads"
    for _ in range(2):
        with aresbus.open(tmp_path / "log", anchor_to=AnchorTo(file=file, every_minutes=OFTEN)) as log:
            until(lambda: log.anchors.stored == 1)
            time.sleep(10 * OFTEN * 60)
    assert len(heads_in(file.read_text())) == 2


def test_a_line_that_was_not_finished_is_ended_first(tmp_path):
    file = tmp_path / "heads"
    file.write_text("torn")
    append_line(file, "whole")
    append_line(file, "again")
    assert file.read_text() == "torn\nwhole\nagain\n"


def test_syslog_gets_the_line(tmp_path):
    address = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(address)
        system.settimeout(30)
        with aresbus.open(tmp_path / "log", anchor_to=AnchorTo(syslog=address)) as log:
            log.append("n", {})
        said = system.recv(2_000).decode()
    assert said.startswith("<13>aresbus: {")
    assert heads_in(said.partition(": ")[2])[0].log_id == log.log_id


def test_a_command_gets_the_line_on_its_stdin(tmp_path):
    copy = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    command = [sys.executable, "-c", copy, str(tmp_path / "copied")]
    with aresbus.open(tmp_path / "log", anchor_to=AnchorTo(command=command)) as log:
        log.append("n", {})
    assert heads_in((tmp_path / "copied").read_text())[-1].tree_size == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no room')", "exit code 1: no room"),
        ("import os; os.close(0); os._exit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "killed after 0.2 s"),
    ],
)
def test_a_command_that_fails_is_named_with_what_it_said(tmp_path, code, said):
    command = [sys.executable, "-c", code]
    with aresbus.open(
        tmp_path / "log", anchor_to=AnchorTo(command=command, timeout=0.2 if "sleep" in code else 30)
    ) as log:
        until(lambda: log.anchors.failed)
        assert said in log.anchors.problem
        log.append("n", {}, durability="always")


def test_a_failing_target_is_counted_tried_again_and_disturbs_no_append(tmp_path):
    """The one that works gets its line once; the one that failed gets it when its folder is there."""
    late, fine = tmp_path / "late" / "heads", tmp_path / "address"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(str(fine))
        system.setblocking(False)
        to = AnchorTo(file=late, syslog=str(fine), every_minutes=OFTEN)
        with aresbus.open(tmp_path / "log", anchor_to=to) as log:
            until(lambda: log.anchors.failed > 2)
            assert "late" in log.anchors.problem
            assert log.append("n", {}, durability="always").seq == 0
            log.sync()
            late.parent.mkdir()
            until(lambda: log.anchors.stored and log.anchors.head.tree_size == 1)
            assert log.anchors.problem is None
        said = []
        while True:
            try:
                said.append(system.recv(2_000))
            except BlockingIOError:
                break
    assert len(said) == len({line.partition(b"at_ns")[0] for line in said}) == 2


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"command": "gpg --clearsign"},
        {"command": []},
        {"file": "heads", "every_minutes": 0},
        {"file": "heads", "every_minutes": float("nan")},
        {"file": "heads", "timeout": "soon"},
        {"file": "heads", "timeout": True},
    ],
)
def test_what_could_never_work_is_refused(options):
    with pytest.raises(aresbus.ConfigError, match="anchor_to"):
        AnchorTo(**options)


def test_a_file_inside_the_log_and_a_reader_are_refused(tmp_path):
    inside = AnchorTo(file=tmp_path / "log" / "heads")
    with pytest.raises(aresbus.ConfigError, match="inside the log"):
        aresbus.open(tmp_path / "log", anchor_to=inside)
    assert not (tmp_path / "log").exists()
    aresbus.open(tmp_path / "log").close()
    with pytest.raises(aresbus.ConfigError, match="only reads"):
        aresbus.open(tmp_path / "log", mode="r", anchor_to=AnchorTo(file=tmp_path / "heads"))
    with pytest.raises(aresbus.ConfigError, match="takes an AnchorTo"):
        aresbus.open(tmp_path / "log", anchor_to="heads")


def test_the_bus_stores_anchors_and_its_health_says_when_it_cannot(tmp_path):
    file = tmp_path / "there" / "heads"
    options = {"anchor_to": AnchorTo(file=file, every_minutes=OFTEN)}

    async def main():
        async with make_bus(tmp_path / "log", log_options=options) as bus:
            await bus.publish("risk_alert", {})
            await asyncio.to_thread(until, lambda: bus.log.anchors.problem is not None)
            bad = bus.check_health().checks["anchors"]
            assert (bad.status, "there" in bad.reason) == ("degraded", True)
            file.parent.mkdir()
            await asyncio.to_thread(until, lambda: bus.log.anchors.problem is None)
            assert bus.check_health().checks["anchors"].status == "healthy"
            await bus.publish("risk_alert", {})

    run(main())
    assert heads_in(file.read_text())[-1].tree_size == 2


def test_a_log_that_is_dropped_is_released(tmp_path):
    to = AnchorTo(file=tmp_path / "heads", every_minutes=60)
    log = aresbus.open(tmp_path / "log", audit=False, anchor_to=to)
    reference = weakref.ref(log)
    until(lambda: reference().anchors.stored)
    del log
    until(lambda: reference() is None)
    until(lambda: _is_free(tmp_path / "log"))


def _is_free(path: os.PathLike[str]) -> bool:
    try:
        aresbus.open(path, audit=False).close()
    except aresbus.LogLockedError:
        return False
    return True
