"""``aresbus demo``: the story holds, its numbers are of the run, and a log is left that the named commands take."""

import json
import subprocess
import sys

import pytest
from aresbus.cli import main
from aresbus.cli.child import Recorder
from aresbus.cli.indicators import Indicators
from aresbus.cli.recorder import market_messages, percentile


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """One demo for all; as JSON, from another folder, with nothing of the project on the path."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "aresbus", "demo", "--log", "log", "--json", "--seed", "7"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout) | {"log": str(folder / "log")}


def test_nothing_acknowledged_is_lost(outcome):
    assert outcome["ok"]
    assert outcome["problems"] == []
    assert 3_200 <= outcome["acknowledged"] <= outcome["survived"] < 8_000
    assert outcome["recovered"] == outcome["acknowledged"]
    assert not outcome["opening"]["clean"]
    assert outcome["opening"]["epoch"] == 2
    assert outcome["events"] == outcome["messages"] == 8_000


def test_replay_and_rebuild_equal_what_was_live(outcome):
    assert outcome["replay_equals_live"]
    assert outcome["rebuild_equals_live"]
    assert outcome["verify_findings"] == 0
    # Against the data itself: every price of the slice lies within 1 % of 61,800.
    assert outcome["rebuilt"]["vwap"] == pytest.approx(61_800, rel=0.01)


def test_the_numbers_make_sense(outcome):
    latency = outcome["latency_ns"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p99_9"] <= latency["max"]
    # Every trade and every top of book after the crash was timed.
    kinds = [message.event_type for _, message in market_messages()[outcome["survived"] :]]
    assert latency["samples"] == kinds.count("trade") + kinds.count("bookTicker")
    assert outcome["events_per_second"] > 0
    assert outcome["bytes_per_event"] > outcome["payload_bytes_per_event"] > 100


def test_the_log_is_left_for_the_commands_it_names(outcome, capsys):
    assert main(["verify", outcome["log"]]) == 0
    assert main(["info", outcome["log"]]) == 0
    capsys.readouterr()
    assert main(["read", outcome["log"], "--type", "trade", "--limit", "5"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_as_text_it_ends_in_a_table_and_three_commands(tmp_path, capsys):
    assert main(["demo", "--log", str(tmp_path / "log")]) == 0
    out = capsys.readouterr().out
    for word in ("1 record", "2 crash", "3 reopen", "4 go on", "5 replay", "6 rebuild", "7 verify"):
        assert f"\n{word}" in out
    for row in (
        "events",
        "rate",
        "publish to handler",
        "bytes per event",
        "acknowledged",
        "recovered",
        "verified",
    ):
        assert f"\n  {row}" in out
    assert [line.split()[1] for line in out.splitlines()[-3:]] == ["read", "info", "verify"]


def test_a_folder_that_is_not_empty_is_refused(tmp_path, capsys):
    (tmp_path / "mine").write_text("precious", encoding="utf-8")
    assert main(["demo", "--log", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_recorder_that_fails_is_said(tmp_path):
    blocked = tmp_path / "log"
    blocked.write_text("no folder", encoding="utf-8")
    with (
        Recorder(blocked) as recorder,
        pytest.raises(ChildProcessError, match="ended early, with exit code 2"),
    ):
        recorder.listen(until=10)


def test_percentiles_are_values_that_occurred():
    assert [percentile([1, 2, 3, 4], share) for share in (0.0, 0.25, 0.5, 0.99, 1.0)] == [1, 1, 2, 4, 4]
    assert percentile([7], 0.999) == 7


def test_messages_of_both_markets_come_in_the_order_of_receipt():
    messages = market_messages()
    times = [message.time_ns for _, message in messages]
    assert times == sorted(times)
    assert {source for source, _ in messages} == {"binance-usdm", "binance-spot"}
    assert len(messages) == 8_000


def test_the_volume_weighted_price_by_hand():
    class Stored:
        def __init__(self, price: str, quantity: str) -> None:
            self.event_type = "trade"
            self.aggregate_id = "a"
            self.data = {"data": {"p": price, "q": quantity}}

    indicators = Indicators()
    indicators.take(Stored("10", "1"))
    indicators.take(Stored("20", "3"))
    assert indicators.trades["a"] == {"trades": 2, "quantity": 4.0, "turnover": 70.0, "vwap": 17.5}
