"""A process ends while its log is open and its threads append: no hang, its own exit code, nothing of ours on stderr, and
everything that was acknowledged is there.
"""

import signal
from pathlib import Path

import aresbus
import pytest
from bad_day_support import PATIENCE_SECONDS, child, heard_out

CHILDREN = str(Path(__file__).with_name("exit_children.py"))
ENOUGH = 200


def check_log(path, said: str, *, is_clean: bool) -> None:
    """Everything that was said is there; the last line may be half."""
    acknowledged = [int(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]
    assert len(acknowledged) >= ENOUGH
    with aresbus.open(path, mode="r") as log:
        seqs = [event.seq for event in log.read()]
        assert seqs == list(range(len(seqs)))
        assert set(acknowledged) <= set(seqs)
        assert log.recovery["clean"] == is_clean
        assert log.verify()["findings"] == []
    with aresbus.open(path) as log:
        assert log.last_seq == len(seqs) - 1


@pytest.mark.parametrize(
    ("act", "code", "says", "is_clean"),
    [
        ("return_beside_daemons", 0, "", True),
        ("exit_beside_daemons", 3, "", True),
        ("raise_beside_daemons", 1, "the program's own words\n", True),
        ("leave_at_once_beside_daemons", 4, "", False),
        ("close_at_exit_of_threads", 0, "", True),
        ("return_with_an_open_bus", 0, "", True),
    ],
)
def test_it_ends_as_it_wanted_and_nothing_is_lost(tmp_path, act, code, says, is_clean):
    with child(act, tmp_path / "log", script=CHILDREN) as process:
        said, noise = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, noise) == (code, says)
    check_log(tmp_path / "log", said, is_clean=is_clean)


def test_a_handler_that_leaves_the_program_leaves_it(tmp_path):
    """Python tells of a task that was left so; that it does is not ours to change."""
    with child("exit_in_a_handler", tmp_path / "log", script=CHILDREN) as process:
        said, noise = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 6, noise
    check_log(tmp_path / "log", said, is_clean=True)


@pytest.mark.parametrize(
    ("act", "number", "code", "is_clean"),
    [
        ("wait_for_signal", signal.SIGTERM, -signal.SIGTERM, False),
        ("wait_for_signal", signal.SIGHUP, -signal.SIGHUP, False),
        ("exit_on_signal", signal.SIGTERM, 5, True),
    ],
)
def test_a_signal_ends_it_and_nothing_is_lost(tmp_path, act, number, code, is_clean):
    with child(act, tmp_path / "log", script=CHILDREN) as process:
        said = "".join(process.stdout.readline() for _ in range(2 * ENOUGH))
        process.send_signal(number)
        rest, noise = heard_out(process)
    assert (process.returncode, noise) == (code, "")
    check_log(tmp_path / "log", said + rest, is_clean=is_clean)
