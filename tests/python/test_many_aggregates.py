"""Very many aggregates: what one costs the writer in memory, and whether an append still costs what it did.

AGGREGATES=1000000 is what docs/operations.md states the figures of; `-s` prints those of this run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

CHILDREN = str(Path(__file__).with_name("many_children.py"))
COUNT = int(os.environ.get("AGGREGATES", "200000"))
MOST_BYTES = 200
MOST_RATIO, MOST_RATIO_OF_ANY = 3, 6


def test_an_aggregate_costs_little_memory_and_an_append_about_the_same(tmp_path):
    done = subprocess.run(
        [sys.executable, CHILDREN, str(tmp_path), str(COUNT)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{COUNT:,} aggregates: {found}")
    assert found["kept"] == COUNT
    assert found["version"] is not None
    assert 30 < found["bytes"] < MOST_BYTES
    assert found["busy"] < MOST_RATIO
    assert found["any"] < MOST_RATIO_OF_ANY
