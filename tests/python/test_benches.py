"""The benchmarks run: a small round of each, so that they are never found broken on the day they are needed."""

import subprocess
import sys
from pathlib import Path

import aresbus
import many_log
import measure
import orjson
import pytest
from aresbus.benchmark import payloads
from aresbus.benchmark.timing import Case, compare

BENCHES = Path(measure.__file__).parent


ALL_BUT_RUST = ("appends", "delivery", "durable", "growth", "latency", "observability", "processes", "reads")
"""The subject that is left out, the scan, would build the engine once more."""


def bench(name, *arguments):
    command = [sys.executable, BENCHES / name, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("distinct", "size"),
    [
        (payloads.distinct_trades, payloads.TRADE_BYTES),
        (payloads.distinct_books, payloads.BOOK_BYTES),
    ],
)
def test_payloads_are_distinct_and_have_the_size_that_is_claimed(distinct, size):
    encoded = [orjson.dumps(data) for data in distinct(100)]
    assert {len(text) for text in encoded} == {size}
    assert len(set(encoded)) > 90


def test_a_round_of_the_figures_prints_each_with_its_limit_and_the_percentiles():
    done = bench("bench_figures.py", *ALL_BUT_RUST, "--rounds", 1, "--events", 1200, "--growth", 20_000)
    assert done.returncode == 0, done.stderr
    counts = {
        "P1": 2,
        "P2": 2,
        "P4": 2,
        "P5": 4,
        "P6": 4,
        "P7": 1,
        "P8": 2,
        "P9": 4,
        "P10": 2,
        "P13": 1,
        "P14": 2,
    }
    for number, count in (counts | {"P18": 3, "P19": 4}).items():
        assert done.stdout.count(f"| {number} |") == count
    for limit in ("≤ 1.15×", "≤ +80 ns", "≤ 150.0 µs", "≥ 5.00×"):
        assert limit in done.stdout
    for below in ("| and sealing, from the intended start |", "| shared memory |"):
        assert below in done.stdout


def test_a_round_of_readers_that_sleep_prints_both_readers():
    done = bench("bench_processes.py", "--sleeps", 3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| native reader |") == done.stdout.count('| bus, mode="r" |') == 2


@pytest.mark.parametrize("arguments", [("--rounds", 3), ("appends",)])
def test_less_than_all_is_not_written(arguments):
    done = bench("bench_figures.py", "--write", *arguments)
    assert done.returncode == 1
    assert "all subjects and 7 rounds" in done.stderr


def test_a_subject_that_is_not_there_is_named_beside_those_that_are():
    done = bench("bench_figures.py", "apends")
    assert done.returncode == 2
    assert "no subject: apends; there are appends, " in done.stderr


def test_floor_and_subject_are_compared_less_the_empty_loop():
    case = Case("t", "f", lambda _: 100_000_000, lambda _: 200_000_000, range(10))
    result = compare(case, 3)
    assert len(result.ratios) == 3
    assert 1.9 < result.ratio < 2.1


@pytest.mark.parametrize(
    ("measure_of", "limit", "value", "said", "reached"),
    [
        (measure.RATIO, 1.5, "2.00×", "≤ 1.50×", "no"),
        (measure.RATIO, 2.0, "2.00×", "≤ 2.00×", "yes"),
        (measure.RATE, 0.6, "0.50×", "≥ 0.60×", "no"),
        (measure.RATE, 0.5, "0.50×", "≥ 0.50×", "yes"),
        (measure.ADDED, 80, "+200 ns", "≤ +80 ns", "no"),
        (measure.MICROSECONDS, 150, "0.2 µs", "≤ 150.0 µs", "yes"),
        (measure.RATIO, None, "2.00×", "–", "–"),
    ],
)
def test_a_figure_is_held_against_its_limit_in_its_own_unit(measure_of, limit, value, said, reached):
    figure = measure.Figure("P0", "what", "i", "f", [100, 10, 100], [200, 2000, 200], limit, measure_of)
    cells = measure.table([figure]).splitlines()[-1].split(" | ")
    assert (cells[6], cells[8], cells[9]) == (f"**{value}**", said, f"{reached} |")


def test_a_round_of_many_turns_is_their_medians():
    times = iter([*range(1, 100)])
    case = Case("t", "f", lambda _: next(times) * 10_000_000, lambda _: 10_000_000, range(1))
    figure = measure.compared("P0", "i", case, 2, turns=3)
    assert [round(ns / 10_000_000) for ns in figure.floors_ns] == [3, 6]


def test_a_generated_log_holds_what_its_figures_look_for(tmp_path):
    plan = many_log.Plan(20_000)
    assert not many_log.is_whole(tmp_path, plan)
    many_log.make(tmp_path, plan, segment_bytes=1 << 20)
    assert many_log.is_whole(tmp_path, plan)
    with aresbus.open(tmp_path / plan.folder_name, mode="r") as log:
        events = list(log.read())
        spread = [event.seq for event in log.read(aggregate_id=many_log.SPREAD)]
        talk = [event.seq for event in log.read(correlation_id=many_log.TALK)]
        rare = [event.seq for event in log.read(types=many_log.RARE)]
        since, until = plan.minute
        minute = [event.seq for event in log.read(since=since, until=until, time="event")]
        assert sum(one["is_sealed"] for one in log.stats()["segments"]) >= 3
    assert spread == list(range(1, 20_000, 20))
    assert talk == list(plan.talk)
    assert rare == list(plan.rare)
    assert minute == list(range(10_000, 15_000))
    assert len({event.raw for event in events}) == 20_000
    assert {event.data["stream"].partition("@")[2] for event in events} == {"bookTicker", "trade"}


def test_a_small_round_of_many_prints_every_figure_and_keeps_the_log(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            BENCHES / "bench_many.py",
            "--events",
            "20000",
            "--folder",
            tmp_path,
            "--keep",
            "--repeats",
            "1",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for figure in (
        "open for writing",
        "open after a kill -9",
        "aggregate of 1,000",
        "conversation of 20",
        "full scan",
    ):
        assert done.stdout.count(f"| {figure}") == 2, "time, and processor time"
    assert "| memory after opening" in done.stdout
    assert many_log.is_whole(tmp_path, many_log.Plan(20_000))
    assert [path.name for path in tmp_path.iterdir()] == ["20000-events"]
