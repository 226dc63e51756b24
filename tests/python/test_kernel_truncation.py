"""A segment is cut off under a process that has it mapped: a typed error there, no SIGBUS, and nothing false acknowledged.

Nobody who keeps to the rules does that; a backup tool, a copy onto itself or an operator may. What is left of the file is
judged by the next opening as any damage is.
"""

import os
import signal
from pathlib import Path

import aresbus
import pytest
from aresbus import CorruptionError
from bad_day_support import child, first_segment, heard, refused

CHILDREN = str(Path(__file__).with_name("truncation_children.py"))
COUNT = 2000
SHORT = [0, 4096, 16 * 1024, 64 * 1024]
"""What is left: nothing, a header, a page of records, some."""


@pytest.fixture
def log(tmp_path):
    """Closed, all its events in one segment."""
    with aresbus.open(tmp_path / "log", audit=False, segment_bytes=1 << 20) as opened:
        for number in range(COUNT):
            opened.append("note", [number, "x" * 200], aggregate_id="a")
    return tmp_path / "log"


def told(act, path, *, cut_to) -> list[str]:
    """What the child says of its life after the cut, and in the end its exit status."""
    with child(act, path, script=CHILDREN) as process:
        assert heard(process) == "ready"
        if cut_to is not None:
            os.truncate(first_segment(path), cut_to)
        process.stdin.write("\n\n")
        process.stdin.flush()
        said, noise = process.communicate(timeout=30)
        return [*said.splitlines(), noise, process.returncode]


@pytest.mark.parametrize("cut_to", SHORT)
@pytest.mark.parametrize("act", ["read", "fork_and_read", "read_with_faulthandler"])
def test_a_reader_raises_and_lives(log, act, cut_to):
    outcome, *_, noise, status = told(act, log, cut_to=cut_to)
    assert outcome.startswith("CorruptionError [AB0006]")
    assert "cut off" in outcome
    assert "Bus error" not in noise
    assert status != -signal.SIGBUS


@pytest.mark.parametrize("cut_to", SHORT)
def test_a_reader_that_waits_raises_too(log, cut_to):
    outcome, *_, status = told("follow", log, cut_to=cut_to)
    assert outcome.startswith("CorruptionError"), outcome
    assert "cut off" in outcome
    assert status == 0


@pytest.mark.parametrize("cut_to", [0, 16 * 1024])
@pytest.mark.parametrize(
    "act", ["read_backward", "read_aggregate", "read_the_last", "head", "prove", "rebuild", "run_bus"]
)
def test_every_way_of_reading_raises_and_lives(log, act, cut_to):
    outcome, *_, noise, status = told(act, log, cut_to=cut_to)
    assert outcome.startswith("CorruptionError [AB0006]"), (outcome, noise)
    assert status == 0


@pytest.mark.parametrize("cut_to", [0, 16 * 1024])
@pytest.mark.parametrize("act", ["know", "wait", "catch_up"])
def test_what_needs_no_reading_is_an_answer_or_the_error(log, act, cut_to):
    outcome, *_, noise, status = told(act, log, cut_to=cut_to)
    assert outcome.startswith(("fine", "CorruptionError [AB0006]")), (outcome, noise)
    assert status == 0


@pytest.mark.parametrize("cut_to", [0, 16 * 1024])
def test_verify_finds_it(log, cut_to):
    outcome, *_, noise, status = told("verify", log, cut_to=cut_to)
    assert outcome == "fine True" or outcome.startswith("CorruptionError"), (outcome, noise)
    assert status == 0


def test_a_reader_that_is_left_alone_knows_nothing_of_it(log):
    assert told("read", log, cut_to=None)[0] == f"fine {COUNT - 1}"


@pytest.mark.parametrize("cut_to", [0, 4096, 64 * 1024])
def test_a_writer_acknowledges_nothing_that_went_nowhere(tmp_path, cut_to):
    path = tmp_path / "log"
    outcome, counts, _ready, closing, _noise, status = told("append", path, cut_to=cut_to)
    assert outcome.startswith("LogPoisonedError"), outcome
    assert "cut off" in outcome
    assert closing.startswith("LogPoisonedError")
    assert status == 0
    # Those that still fell on a page that the writer had in memory before: none is called durable.
    assert counts == "0 99"
    with refused(CorruptionError, first_segment(path)):
        aresbus.open(path, audit=False)


def test_a_fault_that_is_none_of_ours_ends_the_process_as_before(log):
    *_, status = told("foreign", log, cut_to=None)
    assert status == -signal.SIGBUS


def test_a_handler_that_was_there_before_gets_what_is_not_ours(log):
    *_, noise, status = told("foreign_with_faulthandler", log, cut_to=None)
    assert "Fatal Python error: Bus error" in noise
    assert status == -signal.SIGBUS


def test_a_signal_that_is_sent_ends_the_process_as_before(log):
    *_, status = told("sent", log, cut_to=None)
    assert status == -signal.SIGBUS


def test_a_handler_that_comes_later_meets_the_fault_first_and_says_so(log):
    """The one way in which a truncation still ends the process, and not in silence."""
    *_, noise, status = told("read_before_faulthandler", log, cut_to=4096)
    assert "Fatal Python error: Bus error" in noise
    assert status == -signal.SIGBUS
