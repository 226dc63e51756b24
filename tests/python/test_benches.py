"""The benchmarks run: a small round of each, so that they are never found broken on the day they are needed."""

import subprocess
import sys
from pathlib import Path

import measure
import payloads

BENCHES = Path(measure.__file__).parent


def test_the_trade_has_the_size_that_is_claimed():
    import orjson

    sizes = {len(orjson.dumps(data)) for data in payloads.distinct_trades(100)}
    assert sizes == {payloads.TRADE_BYTES}
    assert len({data["id"] for data in payloads.distinct_trades(100)}) > 90


def test_a_round_of_the_ratios_prints_every_figure():
    done = subprocess.run(
        [sys.executable, str(BENCHES / "bench_ratios.py"), "--rounds", "1", "--events", "1200"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for figure in ("P1", "P5", "P9", "P10"):
        assert done.stdout.count(f"| {figure} |") >= 2


def test_a_round_of_observability_prints_both_ratios():
    done = subprocess.run(
        [sys.executable, str(BENCHES / "bench_observability.py"), "--rounds", "1", "--events", "600"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| P19 |") == 2


def test_too_few_rounds_are_not_written():
    done = subprocess.run(
        [sys.executable, str(BENCHES / "bench_ratios.py"), "--rounds", "3", "--write"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "7 rounds" in done.stderr


def test_floor_and_subject_are_compared_less_the_empty_loop():
    case = measure.Case("P0", "t", "f", "i", lambda _: 100_000_000, lambda _: 200_000_000, range(10))
    result = measure.measure(case, 3)
    assert len(result.ratios) == 3
    assert 1.9 < result.ratio < 2.1
    assert "| P0 | t | i | f |" in measure.table([result])
