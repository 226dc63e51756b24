"""All figures of the hot path, each beside a floor measured in the same run and the limit that it is to keep.

What is measured, why and against what, each file of figures/ says of its own. Runs them one after the other, or those that are
named; prints a table, and what belongs below it. --write puts all of it into benches/results.md, the table into README.md.

Warm inputs are one payload over and over, cold ones as many distinct dicts fresh from a decoder as a round has, a thousand
aggregates in random order. Appends roll through segments of a log that grows through all rounds; files lie under target/, which
should be a disk. Refuses to measure a debug build.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import measure
from aresbus import _core
from aresbus.benchmark import payloads
from figures import appends, delivery, durable, growth, latency, observability, processes, reads, scan

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench"
RESULTS = ROOT / "benches" / "results.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
SUBJECTS = {
    module.__name__.rpartition(".")[2]: module
    for module in (appends, delivery, durable, growth, latency, observability, processes, reads, scan)
}


def run(names: Iterable[str], rounds: int, events: int, growth_events: int) -> Iterator[measure.Figure | str]:
    """The figures of these subjects, each told on stderr as it comes; the files of one are gone before the next begins."""
    for name in names:
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        try:
            for found in SUBJECTS[name].figures(measure.Run(FOLDER, rounds, events, growth_events)):
                if isinstance(found, measure.Figure):
                    print(found.row(), file=sys.stderr)
                yield found
        finally:
            shutil.rmtree(FOLDER)


def write(table: str, below: str, caption: str) -> None:
    """Replace benches/results.md and what stands between the marks in README.md."""
    how = "\n\n".join(
        (module.__doc__ or "").partition("\n\n")[2].strip()
        for module in (*SUBJECTS.values(), sys.modules[__name__])
    )
    RESULTS.write_text(
        f"# Figures\n\nWritten by `make bench`. {caption}\n\n{table}\n\n{below}\n\n```text\n{how}\n```\n",
        encoding="utf-8",
    )
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{table}\n\n{caption}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure and print; see the file's first paragraph."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=11, help="rounds that count (default 11)")
    parser.add_argument("--events", type=int, default=50_000, help="events a round (default 50,000)")
    parser.add_argument(
        "--growth", type=int, default=1_000_000, help="events of a log that has grown (default 1,000,000)"
    )
    parser.add_argument(
        "--write", action="store_true", help="write benches/results.md and the README's table"
    )
    given = parser.parse_args()
    if unknown := set(given.subjects) - set(SUBJECTS):
        parser.error(f"no subject: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    if _core.DEBUG_BUILD:
        sys.exit("this is a debug build; `make build` makes one that is worth measuring")
    if given.write and (given.rounds < measure.MIN_ROUNDS or given.subjects):
        sys.exit(f"results that are written need all subjects and {measure.MIN_ROUNDS} rounds")
    os.environ.pop("ARESBUS_STORAGE_PATH", None)
    machine = measure.machine(ROOT, ROOT / "target")
    found = list(run(given.subjects or SUBJECTS, given.rounds, given.events, given.growth))
    figures = [one for one in found if isinstance(one, measure.Figure)]
    table = measure.table(sorted(figures, key=lambda figure: int(figure.number[1:])))
    below = "\n\n".join(one for one in found if isinstance(one, str))
    caption = (
        f"Medians of {given.rounds} rounds, up to {given.events:,} events each, floor and subject by turns, and the "
        f"least and the greatest round; trades of {payloads.TRADE_BYTES} bytes, books of {payloads.BOOK_BYTES}, "
        f"durability `interval` unless said. {machine}."
    )
    print(f"{table}\n\n{below}\n\n{caption}")
    if given.write:
        write(table, below, caption)


if __name__ == "__main__":
    main()
