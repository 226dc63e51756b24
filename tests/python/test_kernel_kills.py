"""Thousands of kills: a writer dies at any moment, the next one goes on, and nothing acknowledged is ever missing.

``KILLS`` says how many (2,000; ``make torture``: 20,000), ``SEED`` repeats what the children did and for how long each
lived; where exactly the kernel then met them is not repeatable. Two reader processes live through all of it.
"""

import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from kernel_supervisor import Follower, Supervisor, Zygote

KILLS = int(os.environ.get("KILLS", "2000"))
KILLS_PER_LOG = range(20, 80)
"""Then the next log: one that grows for ever would soon be all opening."""


PLACES = [("memory", KILLS * 3 // 4), ("disk", KILLS - KILLS * 3 // 4)]
"""Memory lets the most kills happen; on a disk, opening and recovery take long enough to be met often."""


@pytest.fixture
def place(request, tmp_path):
    """An empty directory, on a file system in memory or on that of the temporary files."""
    if request.param == "disk":
        yield tmp_path
        return
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        pytest.skip("no writable /dev/shm here")
    with tempfile.TemporaryDirectory(dir=memory) as path:
        yield Path(path)


@pytest.mark.timeout(120 + KILLS)
@pytest.mark.parametrize(("place", "kills"), PLACES, ids=["memory", "disk"], indirect=["place"])
def test_nothing_acknowledged_is_lost_whenever_the_writer_is_killed(place, kills, tmp_path, record_property):
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**9)))
    print(f"SEED={seed} KILLS={KILLS}")
    record_property("seed", seed)
    errors = tmp_path / "stderr"
    rng = random.Random(f"{seed}/{kills}")
    try:
        with (
            Zygote(errors) as zygote,
            Follower("steady", seed, errors) as steady,
            Follower("restless", seed, errors) as restless,
        ):
            supervisor = Supervisor(zygote, [steady, restless], seed)
            done = 0
            while done < kills:
                count = min(rng.choice(KILLS_PER_LOG), kills - done)
                supervisor.run_log(place / f"log-{done}", range(done, done + count))
                shutil.rmtree(place / f"log-{done}")
                done += count
    finally:
        print(errors.read_text())
    print(report(supervisor.kills, supervisor.events))
    record_property("kills", dict(supervisor.kills))
    assert errors.read_text() == ""
    assert sum(supervisor.kills.values()) - supervisor.kills["stopped first"] == kills


def report(kills: Counter, events: int) -> str:
    phases = ", ".join(f"{phase} {count}" for phase, count in sorted(kills.items()))
    return f"kills by what the writer was at: {phases}; {events} events in the logs"
