"""Holds the instructions of append, publish and read within 5 % of the committed baseline (make instructions).

Owns the comparison and benches/instructions.json. What is counted stands in counted_calls.py, how in callgrind.py.

Unlike times, counts are the same on a busy machine: runs differ by up to 1 %, clones in other folders by up to 2 %. They depend on the build of CPython, the
compiler of the engine and the kind of processor. So there is a baseline for each Python and kind of processor, and a
control that runs none of our code: where it differs, the interpreter is another, and nothing is compared. Fewer
instructions than the baseline fail too: else the next slowdown would hide in what was won.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import callgrind

BENCHES = Path(__file__).parent
PROGRAM = BENCHES / "counted_calls.py"
BASELINES = BENCHES / "instructions.json"
LIMIT = 0.05
CONTROL = "control"
CONTROL_LIMIT = 0.02
RENEW = "make instructions UPDATE=1"
CHECKED_BY_CI = "CPython 3.11, x86_64"
"""Here a missing baseline is a failure, elsewhere only told."""


class Baseline(TypedDict):
    """What the counts were, and what they were taken with, which is told where they differ."""

    made_with: str
    instructions: dict[str, float]


@dataclass(frozen=True)
class Line:
    """One call: instructions per event then and now; None where it has no baseline, or is not counted any more."""

    name: str
    baseline: float | None
    now: float | None

    @property
    def change(self) -> float:
        """As a fraction of the baseline; 0 where there is nothing to compare."""
        return 0 if self.baseline is None or self.now is None else self.now / self.baseline - 1

    @property
    def fault(self) -> str:
        """Empty if all is well."""
        if self.baseline is None:
            return "no baseline"
        if self.now is None:
            return "not counted any more"
        if self.change > LIMIT:
            return "slower"
        return "faster: renew the baseline" if self.change < -LIMIT else ""


def compare(baseline: Mapping[str, float], counts: Mapping[str, float]) -> list[Line]:
    """A line for each call that either knows, in the order of the counts."""
    names = dict.fromkeys([*counts, *baseline])
    return [Line(name, baseline.get(name), counts.get(name)) for name in names]


def table(lines: Sequence[Line]) -> str:
    """Instructions per event."""
    rows = [f"{'instructions per event':34}{'baseline':>10}{'now':>10}{'change':>10}"]
    for line in lines:
        then, now = ("–" if one is None else f"{one:,.0f}" for one in (line.baseline, line.now))
        change = "" if line.baseline is None or line.now is None else f"{line.change:+.1%}"
        rows.append(f"{line.name:34}{then:>10}{now:>10}{change:>10}  {line.fault}".rstrip())
    return "\n".join(rows)


def kind() -> str:
    """What has a baseline of its own."""
    version = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.python_implementation()} {version}, {platform.machine()}"


def tools() -> str:
    """What else the counts depend on."""
    versions = [
        subprocess.run([tool, "--version"], check=False, capture_output=True, text=True).stdout.strip()
        for tool in ("rustc", "valgrind")
    ]
    return ", ".join([f"{platform.python_implementation()} {platform.python_version()}", *versions])


def not_checked(reason: str) -> None:
    """Say it so that nobody takes it for a pass."""
    print(f"instructions NOT CHECKED: {reason}")


def check(baselines: Mapping[str, Baseline], counts: Mapping[str, float]) -> bool:
    """Print what there is to say; False if the check failed."""
    known = baselines.get(kind())
    if known is None:
        not_checked(f"no baseline for {kind()} ({RENEW} writes it)")
        return kind() != CHECKED_BY_CI
    lines = compare(known["instructions"], counts)
    print(table(lines))
    control = next((line for line in lines if line.name == CONTROL), None)
    if control is not None and abs(control.change) > CONTROL_LIMIT:
        not_checked(
            f"the control, which runs none of our code, is off by {control.change:+.1%}: this is another build of "
            f"{kind()} than the baseline's ({known['made_with']}). {RENEW} takes one here; do not commit it by accident"
        )
        return True
    if not any(line.fault for line in lines):
        return True
    print(
        f"\nA call takes over {LIMIT:.0%} more or fewer instructions than benches/instructions.json says. Find out why; if it is "
        f"meant, renew the baseline: {RENEW}\nbaseline: {known['made_with']}\nnow:      {tools()}"
    )
    return False


def update(baselines: dict[str, Baseline], counts: Mapping[str, float]) -> None:
    """Write the counts as the baseline of this kind; others stay."""
    before = baselines.get(kind())
    print(table(compare(before["instructions"] if before else {}, counts)))
    baselines[kind()] = {
        "made_with": tools(),
        "instructions": {name: round(value) for name, value in counts.items()},
    }
    BASELINES.write_text(json.dumps(baselines, indent=2, sort_keys=False) + "\n", encoding="utf-8")
    print(f"\n{BASELINES.name} now says so for {kind()}")


def main() -> None:
    """Count, then compare or write; see the file's first paragraph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write the counts as the new baseline")
    parser.add_argument("--bring", action="store_true", help="let apt install valgrind where it is missing")
    arguments = parser.parse_args()
    try:
        if arguments.bring:
            callgrind.bring_valgrind()
        counts = callgrind.count(PROGRAM)
    except callgrind.NotCountedError as why:
        not_checked(str(why))
        sys.exit(1 if arguments.update else 0)
    baselines: dict[str, Baseline] = json.loads(BASELINES.read_text(encoding="utf-8"))
    if arguments.update:
        update(baselines, counts)
    elif not check(baselines, counts):
        sys.exit(1)


if __name__ == "__main__":
    main()
