"""Retention killed in the middle of its passes, many times: what is left is a log, with all that has to outlive events.

``RETENTION_KILLS`` says how many, ``SEED`` repeats how long each process lived.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import aresbus
import pytest
from aresbus import Expected, VersionConflictError
from aresbus.subscriptions.checkpoints import SubscriptionLog
from retention_children import RARE, aggregate_of
from test_retention import opened

CHILDREN = Path(__file__).with_name("retention_children.py")
KILLS = int(os.environ.get("RETENTION_KILLS", "24"))
SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(10**9)))


class Zygote:
    """Bears processes that are killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def heard(self) -> tuple[str, int, int]:
        word, first, last = self._process.stdout.readline().split()
        return word, int(first), int(last)

    def live(
        self, verb: str, folder: Path, word: str, times: int, seconds: float
    ) -> list[tuple[str, int, int]]:
        """Let one live until it has said the word so often, and a moment longer; what it said of itself."""
        print(verb, folder, file=self._process.stdin, flush=True)
        pid, said = None, []
        while pid is None or [one[0] for one in said].count(word) < times:
            one = self.heard()
            if one[0] == "born":
                pid = one[2]
            elif one[0] == "dead":
                return said
            else:
                said.append(one)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.0002)
        with suppress(ProcessLookupError):  # one that came to its own end is gone
            os.kill(pid, signal.SIGKILL)
        while (one := self.heard())[0] != "dead":
            said.append(one)
        return said


@contextmanager
def zygote():
    command = [sys.executable, str(CHILDREN)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Zygote(process)
        finally:
            process.stdin.close()
            process.wait(60)


@pytest.mark.timeout(120 + 3 * KILLS)
def test_a_log_killed_while_events_expire_is_whole(tmp_path, record_property):
    print(f"SEED={SEED}")
    record_property("seed", SEED)
    chance, folder = random.Random(SEED), tmp_path / "log"
    ends, heads, first_before = Counter(), [], 0
    with zygote() as zygotes:
        for _ in range(KILLS):
            said = zygotes.live("log", folder, "passing", chance.randrange(1, 5), chance.random() * 0.06)
            ends[said[-1][0]] += 1
            with aresbus.open(folder, mode="r") as log:
                holds_together(log)
                assert log.first_seq >= max(one[1] for one in said)
                assert log.last_seq >= said[-1][2]
            with opened(folder) as log:
                assert log.first_seq >= first_before
                first_before = log.first_seq
                holds_together(log)
                heads.append(log.head())
                numbers = [one["number"] for one in log.stats()["segments"]]
                there = {int(one.name.split(".")[0]) for one in (folder / "segments").iterdir()}
                assert min(there) == numbers[0]
    assert first_before > 0
    assert ends["passing"] > 0
    findings = aresbus.verify(folder, against=heads)["findings"]
    # Of heads that speak of expired events alone it is only said that nobody can tell any more.
    assert [one for one in findings if one["severity"] == "error"] == []
    acts = aresbus.read_acts(folder, act="retention.apply")
    assert {one.outcome for one in acts} <= {"done", "interrupted"}


def holds_together(log: aresbus.Log) -> None:
    """What is there reads, each event its own; what is gone has left its versions."""
    first, last = log.first_seq, log.last_seq
    assert [event.data["n"] for event in log.read()] == list(range(first, last + 1))
    assert not log.verify()["findings"]
    if log.mode == "rw" and first:
        with pytest.raises(VersionConflictError):
            log.append("tick", {}, aggregate_id="rare-0", expected_version=Expected.NONE)
    versions = Counter(aggregate_of(n) for n in range(last + 1))
    newest = {aggregate_id: log.aggregate_version(aggregate_id) for aggregate_id in versions}
    assert newest == {aggregate_id: count - 1 for aggregate_id, count in versions.items()}
    assert newest[f"rare-{last // RARE * RARE}"] == 0


def test_a_memory_killed_while_it_forgets_knows_what_it_parked(tmp_path):
    print(f"SEED={SEED}")
    chance, folder, passed = random.Random(SEED), tmp_path / "log", -1
    forgot = 0
    with opened(folder) as log:
        for n in range(30_000):
            log.append("tick", {"n": n})
        log.sync()
        with zygote() as zygotes:
            for _ in range(KILLS // 2):
                said = zygotes.live(
                    "memory", folder, "passed", chance.randrange(1, 900), chance.random() * 0.02
                )
                if said:
                    passed = max(passed, *(one[2] for one in said))
                memory = SubscriptionLog(log, "desk")
                try:
                    at = -1 if memory.checkpoint is None else memory.checkpoint.seq
                    assert passed <= at <= passed + 1
                    places = {place.seq for place in memory.places()}
                    assert places - {at + 1} == {n for n in range(0, at + 1, 40) if n % 80}
                    deliveries = memory.deliveries()
                    assert [one.event.data["n"] for one in deliveries] == sorted(places)
                    wished = {one.place.seq for one in memory.wished()}
                    assert wished - {at + 1} == {n for n in range(0, at + 1, 120) if n % 80}
                    forgot = memory._log.first_seq
                finally:
                    memory.close()
    assert forgot > 0
