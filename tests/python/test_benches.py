"""The benchmarks run: a small round of each, so that they are never found broken on the day they are needed."""

import subprocess
import sys
from pathlib import Path

import aresbus
import many_log
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


def test_a_round_of_observability_prints_both_ratios_and_their_controls():
    done = subprocess.run(
        [sys.executable, str(BENCHES / "bench_observability.py"), "--rounds", "1", "--events", "600"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| P19 |") == 4
    assert done.stdout.count("control") == 2


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
