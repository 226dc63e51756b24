"""What the benchmarks say: figures beside their floors and limits, tables of them and of latencies, and what the machine was.

Owns how they are shown. Measuring itself is aresbus.benchmark's, what is measured each benchmark's own.
"""

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aresbus.benchmark.timing import Case, compare
from aresbus.cli.machine import file_system, processor

MIN_ROUNDS = 7
PERCENTILES = (0.5, 0.99, 0.999, 0.9999)
"""Shown of latencies, and the greatest beside them."""


@dataclass(frozen=True)
class Run:
    """What a benchmark is told: where its files go, and how much it does."""

    folder: Path
    rounds: int
    events: int
    """A round, where the work is as quick as an append."""
    growth: int
    """Events of a log that has grown."""


@dataclass(frozen=True)
class Measure:
    """What is held against a limit, of the nanoseconds of floor and subject; ``is_least``: the limit is to be reached, not kept."""

    form: str
    of: Callable[[float, float], float]
    is_least: bool = False

    def limit(self, value: float | None) -> str:
        """How a limit is written."""
        return "–" if value is None else f"{'≥' if self.is_least else '≤'} {self.form.format(value)}"


RATIO = Measure("{:.2f}×", lambda floor_ns, ns: ns / floor_ns)
RATE = Measure("{:.2f}×", lambda floor_ns, ns: floor_ns / ns, is_least=True)
ADDED = Measure("{:+.0f} ns", lambda _, ns: ns)
MICROSECONDS = Measure("{:.1f} µs", lambda _, ns: ns / 1_000)


@dataclass(frozen=True)
class Figure:
    """One line of the table: what floor and subject came to, round by round, and the limit beside it."""

    number: str
    what: str
    inputs: str
    floor: str
    floors_ns: Sequence[float]
    subjects_ns: Sequence[float]
    limit: float | None = None
    measure: Measure = RATIO

    @property
    def rounds(self) -> list[float]:
        """What is held against the limit, in each round."""
        return list(map(self.measure.of, self.floors_ns, self.subjects_ns))

    @property
    def is_reached(self) -> bool | None:
        """Whether the median of the rounds is within the limit; None where there is none."""
        if self.limit is None:
            return None
        value = statistics.median(self.rounds)
        return value >= self.limit if self.measure.is_least else value <= self.limit

    def row(self) -> str:
        """A line of Markdown."""
        median, low, high = (
            self.measure.form.format(of(self.rounds)) for of in (statistics.median, min, max)
        )
        floor_ns, ns = map(statistics.median, (self.floors_ns, self.subjects_ns))
        reached = {None: "–", True: "yes", False: "no"}[self.is_reached]
        return (
            f"| {self.number} | {self.what} | {self.inputs} | {self.floor} | {floor_ns:,.0f} | {ns:,.0f} "
            f"| **{median}** | {low} – {high} | {self.measure.limit(self.limit)} | {reached} |"
        )


def compared(
    number: str,
    inputs: str,
    case: Case,
    rounds: int,
    *,
    limit: float | None = None,
    measure: Measure = RATIO,
    turns: int = 1,
) -> Figure:
    """The figure of a case, measured by turns; each round is the medians of so many ``turns`` of floor and subject."""
    found = compare(case, rounds * turns)
    floors_ns, subjects_ns = (
        [statistics.median(times[at : at + turns]) for at in range(0, len(times), turns)]
        for times in (found.floors, found.subjects)
    )
    return Figure(number, case.title, inputs, case.floor_name, floors_ns, subjects_ns, limit, measure)


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table, one line a figure."""
    heads = (
        "figure",
        "what",
        "inputs",
        "floor",
        "floor ns",
        "ours ns",
        "value",
        "spread",
        "limit",
        "reached",
    )
    return "\n".join([head(heads), *(one.row() for one in figures)])


def latencies(title: str, rows: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """A Markdown table in microseconds; of each row the five numbers of each round, of which the medians are shown."""
    lines = [head([title, *(f"p{100 * fraction:g}" for fraction in PERCENTILES), "max"])]
    for name, rounds in rows.items():
        medians = (statistics.median(column) / 1_000 for column in zip(*rounds, strict=True))
        lines.append(f"| {name} | {' | '.join(f'{median:,.2f}' for median in medians)} |")
    return "\n".join(lines)


def head(names: Sequence[str]) -> str:
    """The first two lines of a Markdown table."""
    return f"| {' | '.join(names)} |\n|{' --- |' * len(names)}"


def percentile(times: Sequence[int], fraction: float) -> int:
    """The value that this part of all does not exceed."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


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
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit(root)}, {os.cpu_count()} cores ({processor()}), "
        f"{platform.system()} {platform.release()}, {file_system(folder)}, "
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"load average at the start {os.getloadavg()[0]:.1f}"
    )
