"""The GIL and the log's locks: threads, rolls, finalisers and handlers on one log come to their end, and nothing is lost (R11, R12).

Each run is a process of its own with a watchdog, so that a deadlock is a failure with every thread's stack, not a test run
that hangs. That it would find one is shown on a build with a lock-order bug planted in it (rust/planted.rs), whose
extension module ``ARESBUS_PLANTED_CORE`` names; `make mutants` makes and names it.
"""

import os
import subprocess
import sys
from pathlib import Path

import aresbus
import gil_children
import pytest

CHILDREN = str(Path(__file__).with_name("gil_children.py"))
PATIENCE_SECONDS = 120
"""A run takes some ten seconds."""
PLANTED_PATIENCE_SECONDS = 20
PLANTED_CORE = os.environ.get("ARESBUS_PLANTED_CORE")


def stress(act, path, seconds, **environment):
    """Run one child to its end, or until its watchdog ends it."""
    command = [sys.executable, CHILDREN, act, str(path), str(seconds)]
    # Its own watchdog comes first; this one is for a child that cannot even start it.
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
        env={**os.environ, **environment},
    )


def check_log(path, died):
    """Every event is there, once, each thread's in its order; so is the last word of everything that died."""
    with aresbus.open(path, mode="r") as log:
        events = [(event.event_type, event.data) for event in log.read()]
        assert not log.verify()["findings"]
        assert len(log.stats()["segments"]) > 10, "it hardly rolled"
    for name in range(gil_children.THREADS):
        numbers = [data[1] for kind, data in events if kind == "worked" and data[0] == name]
        assert numbers == list(range(gil_children.EVENTS))
    for last_word in ("finalised", "forgotten"):
        assert sorted(data for kind, data in events if kind == last_word) == list(range(died))
    return events


def test_threads_rolls_and_finalisers_come_to_their_end(tmp_path):
    done = stress("log", tmp_path / "log", PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    check_log(tmp_path / "log", int(done.stdout))


def test_handlers_that_publish_come_to_their_end(tmp_path):
    done = stress("bus", tmp_path / "log", PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    events = check_log(tmp_path / "log", int(done.stdout))
    handled = [tuple(data) for kind, data in events if kind == "handled"]
    worked = [tuple(data[:2]) for kind, data in events if kind == "worked"]
    assert handled == worked[: len(handled)]
    assert handled


@pytest.mark.skipif(PLANTED_CORE is None, reason="needs a build with planted bugs: make mutants")
@pytest.mark.parametrize("act", ["log", "bus"])
def test_the_stress_finds_a_lock_order_bug(tmp_path, act):
    core = {"ARESBUS_CORE": str(PLANTED_CORE)}
    sound = stress(act, tmp_path / "sound", PATIENCE_SECONDS, **core)
    assert sound.returncode == 0, sound.stderr
    hung = stress(act, tmp_path / "hung", PLANTED_PATIENCE_SECONDS, **core, ARESBUS_PLANTED="gil-lock-order")
    assert hung.returncode != 0
    assert "Timeout" in hung.stderr
    assert "in append" in hung.stderr, "it hangs elsewhere"
