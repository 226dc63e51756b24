"""How figures are measured: floor and subject by turns in one process.

Owns rounds and medians. Knows nothing of what is measured.

One round times floor and subject, each over the same inputs, each less an empty loop over them; its ratio is that of
the two. Who goes first is drawn by lot: what the first leaves to threads in the background slows the second (the same
subject against itself, always second, came to 1.15 where both write a log). The first round is thrown away. The median
of the rounds counts, the least and greatest are shown.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Case", "Loop", "Result", "compare", "timed"]

Loop: TypeAlias = Callable[[Sequence[Any]], int]
"""Does the work once per input; returns the nanoseconds it took."""


@dataclass(frozen=True)
class Case:
    """One subject beside its floor."""

    title: str
    floor_name: str
    floor: Loop
    subject: Loop
    inputs: Sequence[Any]


@dataclass(frozen=True)
class Result:
    """What a case came to in each round; times in nanoseconds per event."""

    case: Case
    floors: tuple[float, ...]
    subjects: tuple[float, ...]

    @property
    def floor_ns(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.floors)

    @property
    def subject_ns(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.subjects)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Of each round."""
        return tuple(subject / floor for floor, subject in zip(self.floors, self.subjects, strict=True))

    @property
    def ratio(self) -> float:
        """The median of those of the rounds."""
        return statistics.median(self.ratios)


def timed(work: Callable[[Sequence[Any]], object]) -> Loop:
    """A loop that is timed as a whole."""

    def loop(inputs: Sequence[Any]) -> int:
        start = time.perf_counter_ns()
        work(inputs)
        return time.perf_counter_ns() - start

    return loop


def _empty_loop_ns(inputs: Sequence[Any]) -> int:
    """What looping alone costs."""
    start = time.perf_counter_ns()
    for _ in inputs:
        pass
    return time.perf_counter_ns() - start


def compare(case: Case, rounds: int) -> Result:
    """Interleave floor and subject; the garbage collector runs as in any program."""
    lot = random.Random(0)  # noqa: S311 - repeatable, not secret
    floors: list[float] = []
    subjects: list[float] = []
    turns = [(case.floor, floors), (case.subject, subjects)]
    for _ in range(rounds + 1):
        gc.collect()
        loop_ns = _empty_loop_ns(case.inputs)
        for loop, times in lot.sample(turns, 2):
            times.append((loop(case.inputs) - loop_ns) / len(case.inputs))
    return Result(case, tuple(floors[1:]), tuple(subjects[1:]))
