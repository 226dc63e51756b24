"""Hundreds of kills of writers and of durable consumers: every event is handled at least once or parked, keys in order.

``CONSUMER_KILLS`` says how many (500), ``SEED`` repeats who was killed and after how long.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import aresbus
import pytest
from aresbus.subscriptions.checkpoints import folder_of
from bus_support import make_bus, run
from consumer_children import is_poison

KILLS = int(os.environ.get("CONSUMER_KILLS", "500"))
PATIENCE_SECONDS = 60


class Zygote:
    """What writers and consumers are forked from."""

    def __init__(self, folder: Path, bug: str = "") -> None:
        script = Path(__file__).with_name("consumer_children.py")
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(script), *filter(None, [bug])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def bear(self, kind: str, seed: int = 0) -> int:
        self._process.stdin.write(f"{kind} {self.folder} {seed}".encode())
        return int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.stdin.close()
        self._process.wait(PATIENCE_SECONDS)
        self._process.stdout.close()
        # Where a check failed, as it has to with a bug planted, some are still at work, and would be for good.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def kill(pid: int) -> None:
    """Kill the process and wait until it is gone, and with it its locks."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def told(folder: Path, name: str) -> list[tuple[str, int]]:
    path = folder / name
    lines = path.read_text().splitlines() if path.exists() else []
    return [(key, int(n)) for key, n in (line.split() for line in lines)]


def parked_in(folder: Path) -> dict[tuple[str, int], dict]:
    """Every delivery that was ever parked, by key and number, read past the consumer's lock."""
    with aresbus.open(folder_of(str(folder / "log"), "desk"), mode="r") as memory:
        records = [event.data for event in memory.read(types="parked")]
    return {(one["key"], one["event"]["data"]): one for one in records}


def check_order(handled: list[tuple[str, int]], parked: dict) -> None:
    """A key may step back after a kill, never ahead of what was handled or parked before."""
    reached: dict[str, int] = defaultdict(int)
    for key, n in handled:
        while (key, reached[key]) in parked:
            reached[key] += 1
        assert n <= reached[key], f"{key}: {n} was handled before {reached[key]}"
        reached[key] = max(reached[key], n + 1)


@pytest.mark.timeout(240 + KILLS)
def test_every_event_is_handled_or_parked_whoever_is_killed(tmp_path, record_property):
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**9)))
    print(f"SEED={seed}")
    record_property("seed", seed)
    check(tmp_path, torture(tmp_path, KILLS, seed))


def torture(
    folder: Path, kills: int, seed: int, *, bug: str = "", patience: float = PATIENCE_SECONDS
) -> list[tuple[str, int]]:
    """Kill so often, then let all be delivered; what is stored. ``bug``: a name of planted_consumers.py."""
    rng, zygote = random.Random(seed), Zygote(folder, bug)
    try:
        writer, consumer = zygote.bear("writer", rng.randrange(10**9)), 0
        for _ in range(kills):
            # Most die early, in the middle of an opening; some live to do a lot.
            time.sleep(rng.uniform(0.0, 0.03) if rng.random() < 0.9 else 0.3)
            if consumer == 0 or rng.random() < 0.6:
                if consumer:
                    kill(consumer)
                # The first one may come before the log is there: a reader of nothing ends with an error.
                if told(folder, "stored"):
                    consumer = zygote.bear("consumer")
            else:
                kill(writer)
                writer = zygote.bear("writer", rng.randrange(10**9))
        kill(writer)
        with aresbus.open(folder / "log", mode="r") as log:
            stored = [(event.aggregate_id, event.data) for event in log.read()]
        assert set(told(folder, "stored")) <= set(stored)
        wait_until_all_had(folder, stored, patience)
        kill(consumer)
        return stored
    finally:
        zygote.end()
        errors = folder / "errors"
        if errors.exists():
            print(errors.read_text()[-4000:])


def wait_until_all_had(folder: Path, stored: list[tuple[str, int]], patience: float) -> None:
    deadline = time.monotonic() + patience
    while missing := set(stored) - set(told(folder, "handled")) - set(parked_in(folder)):
        assert time.monotonic() < deadline, f"{len(missing)} events were neither handled nor parked"
        time.sleep(0.05)


def check(folder: Path, stored: list[tuple[str, int]]) -> None:
    handled, parked = told(folder, "handled"), parked_in(folder)
    poisoned: dict[str, int] = {}
    for key, n in stored:
        if is_poison(key, n):
            poisoned.setdefault(key, n)
    assert not any(is_poison(key, n) for key, n in handled)
    expected = {(key, n) for key, n in stored if n >= poisoned.get(key, n + 1)}
    odd = sorted(set(parked) ^ expected)
    assert not odd, "parked are the refused, and whatever came behind them in their key, and nothing else"
    assert {place for place, one in parked.items() if not one["queued"]} == set(poisoned.items())
    check_order(handled, parked)
    print(f"{len(stored)} events, {len(handled)} deliveries, {len(parked)} parked")

    async def redeliver():
        order = []
        async with make_bus(folder / "log") as bus:
            mine = bus.subscribe(
                "risk_alert", lambda event: order.append((event.aggregate_id, event.data)), name="desk"
            )
            assert {(one.event.aggregate_id, one.event.data) for one in mine.parked()} == expected
            assert await mine.redeliver_parked() == (len(expected), 0)
        return order

    # What no checkpoint had passed may come once more, from the log.
    order = list(dict.fromkeys(run(redeliver())))
    assert [one for one in order if one in expected] == [one for one in stored if one in expected]
