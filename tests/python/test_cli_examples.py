"""The scripts in examples/ run as they stand, twice over the same log. Owns no claim about what they teach."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def run(example: Path, folder: Path) -> str:
    command = [sys.executable, "-W", "error", str(example), str(folder / "log")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_runs_again(example, tmp_path):
    assert run(example, tmp_path)
    assert run(example, tmp_path)


def test_the_second_run_of_vwap_goes_on_where_the_first_stopped(tmp_path):
    example = next(path for path in EXAMPLES if path.stem == "vwap")
    first, second = run(example, tmp_path).splitlines(), run(example, tmp_path).splitlines()
    assert first[0] == "from the log: 0.000 BTC traded"
    total = float(first[1].split()[1])
    assert second[0] == f"from the log: {total:.3f} BTC traded"


def test_orders_shows_the_conflict(tmp_path):
    lines = run(next(path for path in EXAMPLES if path.stem == "orders"), tmp_path).splitlines()
    assert lines[0] == "not cancelled: order-0 is at version 1, by order_filled"
    assert lines[-1] == "durable up to 1"
