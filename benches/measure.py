"""How the benchmarks measure: floor and subject by turns in one process, and what the machine was.

Owns rounds, medians, the description of the machine and the tables. Knows nothing of what is measured.

One round times floor and subject, each over the same inputs, each less an empty loop over them; its ratio is that of
the two. Who goes first is drawn by lot: what the first leaves to threads in the background slows the second (the same
subject against itself, always second, came to 1.15 where both write a log). The first round is thrown away. The median
of the rounds counts, the least and greatest are shown.
"""

import gc
import os
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MIN_ROUNDS = 7

Loop = Callable[[Sequence[Any]], int]
"""Does the work once per input; returns the nanoseconds it took."""


@dataclass(frozen=True)
class Case:
    """One subject beside its floor."""

    figure: str
    title: str
    floor_name: str
    inputs_name: str
    floor: Loop
    subject: Loop
    inputs: Sequence[Any]


@dataclass(frozen=True)
class Result:
    """What a case came to; times in nanoseconds per event."""

    case: Case
    floor_ns: float
    subject_ns: float
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)


def timed(work: Callable[[Sequence[Any]], object]) -> Loop:
    """A loop that is timed as a whole."""

    def loop(inputs: Sequence[Any]) -> int:
        start = time.perf_counter_ns()
        work(inputs)
        return time.perf_counter_ns() - start

    return loop


def empty_loop_ns(inputs: Sequence[Any]) -> int:
    """What looping alone costs."""
    start = time.perf_counter_ns()
    for _ in inputs:
        pass
    return time.perf_counter_ns() - start


def measure(case: Case, rounds: int) -> Result:
    """Interleave floor and subject; the garbage collector runs as in any program."""
    lot = random.Random(0)
    floors: list[float] = []
    subjects: list[float] = []
    turns = [(case.floor, floors), (case.subject, subjects)]
    for _ in range(rounds + 1):
        gc.collect()
        loop_ns = empty_loop_ns(case.inputs)
        for loop, times in lot.sample(turns, 2):
            times.append((loop(case.inputs) - loop_ns) / len(case.inputs))
    ratios = tuple(subject / floor for floor, subject in zip(floors[1:], subjects[1:], strict=True))
    return Result(case, statistics.median(floors[1:]), statistics.median(subjects[1:]), ratios)


def table(results: Sequence[Result]) -> str:
    """A Markdown table, one line a result."""
    lines = [
        "| figure | what | inputs | floor | floor ns | ours ns | ratio | spread |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {result.case.figure} | {result.case.title} | {result.case.inputs_name} | {result.case.floor_name} "
        f"| {result.floor_ns:,.0f} | {result.subject_ns:,.0f} | **{result.ratio:.2f}×** "
        f"| {min(result.ratios):.2f}–{max(result.ratios):.2f} |"
        for result in results
    ]
    return "\n".join(lines)


def _first(path: str, key: str) -> str:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "unknown")


def file_system(folder: Path) -> str:
    """Type of the file system that a folder is on, as the kernel names it."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, *_ = line.split()
        inside = place == "/" or f"{folder.resolve()}/".startswith(f"{place}/")
        if inside and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]


def commit(root: Path) -> str:
    """The commit that was measured, and whether the tree differed from it."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "unknown"


def machine(root: Path, folder: Path) -> str:
    """Date, commit, processor, system, file system, load: what the figures depend on."""
    processor = _first("/proc/cpuinfo", "model name")
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit(root)}, {os.cpu_count()} cores ({processor}), "
        f"{platform.system()} {platform.release()}, {file_system(folder)}, "
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"load average at the start {os.getloadavg()[0]:.1f}"
    )
