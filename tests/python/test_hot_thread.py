"""The appending thread once it is warm: no system call, also where the log rolls, without syncs no page fault, and else at most
two for each sync that ran (R10).

On a machine with few cores the keeper may be interrupted in the very moment in which it holds what the appender needs, and the
appender then waits in the kernel, as it should: so of some runs one has to be clean. That no run is, is shown for a build
with a bug planted in it (rust/planted.rs), which `make mutants` makes and names.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faults import shim

CHILDREN = str(Path(__file__).with_name("hot_thread_children.py"))
RUNS, ATTEMPTS = 5, 2
PATIENCE_SECONDS = 120
FAULTS_A_SYNC = 2
"""The sync write-protects the page being written, and perhaps the one behind it before it was populated again."""
PLANTED_CORE = os.environ.get("ARESBUS_PLANTED_CORE")


def is_clean(act, path, durability, **environment):
    """Whether the appending thread of one process did nothing that it may not."""
    done = subprocess.run(
        [sys.executable, CHILDREN, act, str(path), durability],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env={**os.environ, **environment} | ({"LD_PRELOAD": str(shim())} if act == "faults" else {}),
    )
    if act == "calls":
        assert done.returncode in {0, -signal.SIGSYS}, done.stderr
        return done.returncode == 0
    assert done.returncode == 0, done.stderr
    faults, syncs, rolls = map(int, done.stdout.split())
    if rolls and len(path.suffixes) < ATTEMPTS:
        # A roll of the warm-up came before its spare had twice the size: where the count was to lie within one segment it did not.
        return is_clean(act, path.with_name(f"{path.name}.again"), durability, **environment)
    assert rolls == 0
    assert (syncs > 0) == (durability == "interval")
    return faults <= FAULTS_A_SYNC * syncs


def is_ever_clean(act, folder, durability, runs=RUNS, **environment):
    """Whether one of some runs was clean."""
    return any(is_clean(act, folder / str(run), durability, **environment) for run in range(runs))


@pytest.mark.parametrize("durability", ["none", "interval"])
def test_the_appending_thread_makes_no_system_call(tmp_path, durability):
    assert is_ever_clean("calls", tmp_path, durability)


@pytest.mark.parametrize("durability", ["none", "interval"])
def test_the_appending_thread_faults_no_page_in_but_those_a_sync_protects(tmp_path, durability):
    assert is_ever_clean("faults", tmp_path, durability)


@pytest.mark.skipif(PLANTED_CORE is None, reason="needs a build with planted bugs: make mutants")
@pytest.mark.parametrize(
    ("act", "durability", "bug"),
    [
        ("calls", "none", "roll-calls-system"),
        ("faults", "none", "pages-not-populated"),
        ("faults", "interval", "pages-not-populated"),
        ("faults", "interval", "window-not-restored"),
    ],
)
def test_a_planted_bug_is_noticed(tmp_path, act, durability, bug):
    core = {"ARESBUS_CORE": str(PLANTED_CORE)}
    assert is_ever_clean(act, tmp_path / "sound", durability, **core)
    assert not is_ever_clean(act, tmp_path / "planted", durability, **core, ARESBUS_PLANTED=bug)
