"""A recorded market day, a strategy beside it, and its replay: the same decisions as live, and two replays that agree.

Runs on the slice in the package; ``--captures DIR`` takes whole captures. The strategy is the shipped example.
"""

import asyncio
import importlib.util
import sys
from heapq import merge
from pathlib import Path

import aresbus
import pytest
from aresbus import EnhancedEventBus, EventType, Replay, digest_of, register_event_type
from aresbus.cli.lines import parse_line, read_feed
from aresbus.market_day import CAPTURES

EXAMPLE = Path(aresbus.__file__).parent / "examples/strategy.py"
MADE = (EventType.TRADE_DECISION_MADE, EventType.ANALYSIS_COMPLETED)


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example_strategy", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def messages(folder):
    """Source and message of every line of every capture, in the order of receipt."""
    if folder is None:
        captures = [(capture.path, capture.source) for capture in CAPTURES]
    else:
        captures = [(path, path.stem) for path in sorted(folder.glob("*.gz"))]
        assert captures, f"no capture (*.gz) in {folder}"

    def lines(path, source):
        with path.open("rb") as file:
            for line in read_feed(file):
                yield source, parse_line(line, source)

    return list(merge(*(lines(*capture) for capture in captures), key=lambda pair: pair[1].time_ns))


@pytest.fixture(scope="module")
def day(example, request, tmp_path_factory):
    """The log of a live day, everything recorded, the strategy's decisions among it; and how many orders it sent."""
    folder = tmp_path_factory.mktemp("day") / "log"
    feed = messages(request.config.getoption("captures"))
    for kind in {message.event_type for _, message in feed}:
        register_event_type(kind)
    orders = []

    async def live():
        settings = {"storage_path": str(folder), "enable_snapshots": False}
        async with EnhancedEventBus({"event_bus": settings}, strict=True) as bus:
            example.TopOfBook(bus)
            bus.subscribe(EventType.TRADE_DECISION_MADE, orders.append)
            for source, message in feed:
                await bus.publish(
                    message.event_type,
                    message.data,
                    source,
                    aggregate_id=message.aggregate_id,
                    event_time_ns=message.time_ns,
                )
                if message.event_type == "trade":
                    await asyncio.sleep(0)  # so that handlers now keep up and now lag

    asyncio.run(live())
    with aresbus.open(folder, mode="r") as log:
        yield log, len(feed), len(orders)


def replayed(example, log, **options):
    replay = Replay(log, without=MADE, time="event", **options)
    example.TopOfBook(replay)
    return replay, replay.run()


@pytest.fixture(scope="module")
def whole(day, example):
    """A replay of the whole day, and its report."""
    return replayed(example, day[0])


def facts(event):
    """What must be the same live and replayed."""
    return (
        event.raw,
        event.aggregate_id,
        event.correlation_id,
        event.causation_id,
        event.source,
        event.event_time_ns,
    )


def test_a_replay_decides_as_it_was_decided_live(day, whole):
    log, fed, ordered = day
    replay, report = whole
    assert report.replayed == fed
    assert ordered > 10
    for kind in MADE:
        live = [facts(event) for event in log.read(types=kind)]
        again = [facts(event) for event in replay.output.read(types=kind)]
        assert live
        assert again == live
        assert digest_of(replay.output.read(types=kind)) == digest_of(log.read(types=kind))
    assert report.blocked == {"broker": ordered}


def test_two_replays_agree(day, example, whole):
    first, first_report = whole
    second, second_report = replayed(example, day[0])
    assert first_report == second_report
    assert [event.event_id for event in first.output.read()] == [
        event.event_id for event in second.output.read()
    ]
    assert [event.ts_ns for event in first.output.read()] == [event.ts_ns for event in second.output.read()]


def test_another_process_comes_to_the_same_digest(day, whole):
    """Nothing in it hangs on this process: hash seeds, addresses, the order of imports."""
    import json
    import subprocess

    log, report = day[0], whole[1]
    options = [f"--without={kind}" for kind in MADE]
    command = [
        "-m",
        "aresbus",
        "replay",
        log.path,
        "--time=event",
        f"--strategy={EXAMPLE}:TopOfBook",
        *options,
    ]
    done = subprocess.run(
        [sys.executable, *command, "--digest", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    said = json.loads(done.stdout)
    assert (said["digest"], said["input_digest"]) == (report.digest, report.input_digest)


def test_a_strategy_that_decides_otherwise_has_another_digest(day, example, whole, monkeypatch):
    log, report = day[0], whole[1]
    monkeypatch.setattr(example, "SMOOTHING", example.SMOOTHING * 1.0001)
    _, other = replayed(example, log)
    assert other.digest != report.digest
    assert other.input_digest == report.input_digest


def test_a_replay_of_half_a_day_ends_with_the_same_decisions_if_it_begins_with_the_day(day, example, whole):
    log, *_ = day
    half, report = replayed(example, log, up_to=log.last_seq // 2)
    expected = [facts(event) for event in whole[0].output.read()]
    assert 0 < report.published < len(expected)
    assert [facts(event) for event in half.output.read()] == expected[: report.published]
