"""Processes made by multiprocessing while a log is open and threads append: by fork, spawn and forkserver.

os.fork itself is test_core_handle.py's, buses and durable subscriptions in a forked child test_bus_life.py's and test_forks.py's.
"""

import subprocess
import sys
from pathlib import Path

import aresbus
import pytest

PROGRAM = str(Path(__file__).with_name("fork_children.py"))
CLOSED = ["LogClosedError", "LogClosedError", "LogClosedError", "None"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_has_no_handle_and_its_parent_keeps_all(tmp_path, method):
    path = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", PROGRAM, method, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    pickled, *children, end = done.stdout.splitlines()
    assert pickled == "TypeError"
    inherited = CLOSED if method == "fork" else []
    for said, code in zip(children[::2], children[1::2], strict=True):
        assert said.split() == [*inherited, "LogLockedError", "100", "50"]
        assert code == "0"
    count, last = map(int, end.split())
    assert count == last + 1
    with aresbus.open(path, mode="r") as log:
        assert log.recovery["clean"]
        assert [event.seq for event in log.read()] == list(range(count))
        assert log.verify()["findings"] == []
    for own in tmp_path.glob("log-*"):
        with aresbus.open(own, mode="r") as log:
            assert [event.data for event in log.read()] == list(range(51))
