"""What reading costs below Python.

P11  scan of a log of 256 opaque bytes an event through the engine, checksums checked: passing every event over, since its
     filter matches none, and giving each out with bytes of its own; against a loop in Rust over the same files in memory that computes each record's checksum, decodes nothing and
     gives nothing out. It matters because nothing above can be faster. The value is the part of the loop's rate that is
     reached. Measured by benches/scan.rs.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from measure import RATE, Figure, Run

ROOT = Path(__file__).parents[2]


def figures(run: Run) -> Iterator[Figure]:
    """P11."""
    command = ["cargo", "bench", "--locked", "--quiet", "--bench", "scan", "--"]
    done = subprocess.run(
        [*command, str(run.rounds), str(run.events)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(run.folder)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    rounds = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    floors, passed_over, given_out = zip(*rounds, strict=True)
    for title, subjects in (("scan, Rust, passing over", passed_over), ("scan, Rust, giving out", given_out)):
        yield Figure("P11", title, "256 B", "checksums alone", floors, subjects, limit=0.6, measure=RATE)
