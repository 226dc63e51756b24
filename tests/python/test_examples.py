"""The shipped examples, run as a user runs them, by ``aresbus example`` and as scripts, twice over the same log."""

import ast
import json
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import aresbus
import pytest
from aresbus.cli import main

FOLDER = Path(aresbus.__file__).parent / "examples"
EXAMPLES = sorted(file for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))
NAMES = [file.stem for file in EXAMPLES]
HOPS = [
    *("market_data_received", "analysis_completed", "strategy_formulated"),
    *("trade_decision_made", "trade_executed", "performance_update"),
]
README = Path(__file__).parents[2] / "examples" / "README.md"


def run(name: str, folder: Path) -> str:
    command = [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), str(folder / "log")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_line(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aresbus", "example", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"trading_system", "processes"}))
def test_an_example_runs_and_runs_again(name, tmp_path):
    assert run(name, tmp_path)
    assert run(name, tmp_path)


def test_the_second_run_of_vwap_goes_on_where_the_first_stopped(tmp_path):
    first, second = run("vwap", tmp_path).splitlines(), run("vwap", tmp_path).splitlines()
    assert first[0] == "from the log: 0.000 BTC traded"
    total = float(first[1].split()[1])
    assert second[0] == f"from the log: {total:.3f} BTC traded"


def test_orders_shows_the_conflict(tmp_path):
    lines = run("orders", tmp_path).splitlines()
    assert lines[0] == "not cancelled: order-0 is at version 1, by order_filled"
    assert lines[-1] == "durable up to 1"


def test_the_sync_bot_is_small_and_remembers(tmp_path):
    tree = ast.parse((FOLDER / "sync_bot.py").read_text())
    body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert sum(node.end_lineno - node.lineno + 1 for node in body) <= 30
    first, second = run("sync_bot", tmp_path).splitlines(), run("sync_bot", tmp_path).splitlines()
    assert first[0] == "remembers 0 prices, and that it decided to do nothing"
    last_side = first[-1].split()[0]
    assert second[0] == f"remembers 20 prices, and that it decided to {last_side}"
    with aresbus.open(tmp_path / "log", mode="r") as log:
        ticks = {event.event_id for event in log.read(types="market_data_received")}
        decisions = list(log.read(types="trade_decision_made"))
        assert len(decisions) == len(first) + len(second) - 2
        assert {event.causation_id for event in decisions} <= ticks
        sides = [event.data["side"] for event in decisions]
        assert all(one != other for one, other in pairwise(sides)), "never the same twice"


def test_the_trading_system_does_what_it_says(tmp_path):
    text = run("trading_system", tmp_path)
    lines = text.splitlines()
    assert re.fullmatch(r"a day with decisions 1\.0\.0: \d+ trades so far, .* [1-9]\d* risk alerts", lines[0])
    counts = re.search(
        r"versions: (\d+) decisions stored as 1\.0\.0, (\d+) as 1\.1\.0; (\d+) of \3 are", text
    )
    old, new, both = map(int, counts.groups())
    assert old > 0 < new
    assert old + new == both
    assert f"rebuild: {both} trades, " in text
    assert f"{new} orders held back: decided as live" in text
    assert ": as live" in text
    assert "NOT" not in text
    tree = text.split("the last conversation that came to a trade:\n")[1].split("\n\n")[0].splitlines()
    assert [re.search(r"  (\w+)  seq", line).group(1) for line in tree[1:]] == HOPS
    assert re.search(rf"^{both} pairs; without partner \d+ first, 0 second$", text, re.MULTILINE)
    assert re.search(r"^p50 .* max ", text, re.MULTILINE)
    check_the_log_of_the_trading_system(tmp_path / "log", old, new)


def check_the_log_of_the_trading_system(folder: Path, old: int, new: int) -> None:
    with aresbus.open(folder, mode="r") as log:
        versions = [event.schema_version for event in log.read(types="trade_decision_made")]
        assert versions == ["1.0.0"] * old + ["1.1.0"] * new
        for trade in log.read(types="trade_executed"):
            conversation = list(log.read(correlation_id=trade.correlation_id))
            first = next(log.read(types=HOPS[0], up_to=conversation[0].seq, direction="backward"))
            chain = [first, *conversation]
            assert [str(event.event_type) for event in chain] == HOPS
            assert [event.causation_id for event in chain[1:]] == [event.event_id for event in chain[:-1]]
            if (trade.aggregate_version or 0) > 500:
                break
        alerts = list(log.read(types="risk_alert"))
        assert all(event.data["exposure"] > event.data["limit"] for event in alerts)
    assert aresbus.verify(folder)["findings"] == []


def test_the_trading_system_trades_one_more_day_on_its_log(tmp_path):
    run("trading_system", tmp_path)
    lines = run("trading_system", tmp_path).splitlines()
    assert [line.startswith("a day with decisions 1.1.0: ") for line in lines].count(True) == 1
    assert not any("decisions 1.0.0:" in line or "NOT" in line for line in lines)


def test_of_the_processes_none_loses_an_event(tmp_path):
    for first_seq in (0, 600):
        text = run("processes", tmp_path)
        assert f"appends 600 events from seq {first_seq} on" in text
        assert re.search(r"^risk: process \d+ killed after it had handled \d+$", text, re.MULTILINE)
        assert "desk: 600 of 600 events, 0 twice, 0 lost" in text
        assert re.search(r"^risk: 600 of 600 events, \d+ twice, 0 lost$", text, re.MULTILINE)


# aresbus example


def test_every_example_says_what_it_shows_and_how_to_run_it(capsys):
    assert main(["example", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == NAMES
    for one in listed:
        assert len(one["shows"].split()) > 5
        said = ast.get_docstring(ast.parse((FOLDER / f"{one['name']}.py").read_text()))
        assert f"{one['name']}.py" in said, "how to run it"
    assert main(["example"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(NAMES)]] == NAMES


def test_the_page_names_every_example():
    assert re.findall(r"^\| \[(\w+)\]", README.read_text(), re.MULTILINE) == NAMES


def test_an_example_runs_in_an_empty_folder_and_leaves_it_so(tmp_path):
    done = command_line("orders", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])
    place = re.search(r"its log is in (\S+);", done.stdout).group(1)
    with aresbus.open(place, mode="r") as log:
        assert log.last_seq == 1


def test_a_folder_of_ones_own_is_kept_and_gone_on_with(tmp_path):
    for count in (1, 2):
        done = command_line("orders", "--log", "here", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with aresbus.open(tmp_path / "here", mode="r") as log:
            assert log.last_seq == 2 * count - 1


def test_with_json_the_run_is_one_document(tmp_path):
    done = command_line("orders", "--json", "--log", tmp_path / "log")
    result = json.loads(done.stdout)
    assert (result["name"], result["exit_code"]) == ("orders", 0)
    assert result["output"][-1] == "durable up to 1"


def test_its_exit_code_is_that_of_the_example(tmp_path):
    (tmp_path / "file").write_text("no folder")
    done = command_line("orders", "--log", tmp_path / "file")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "its log is in" not in done.stdout
    assert command_line("orders", "--json", "--log", tmp_path / "file").returncode == 1


@pytest.mark.parametrize("name", ["nonsense", "../cli/demo", "__init__", "", "/etc/passwd"])
def test_an_unknown_name_is_one_line_with_all_that_are_known(name, capsys):
    assert main(["example", name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"aresbus: no example {name!r}; the examples are order_book, orders, ")


def test_a_name_may_be_written_as_a_file_or_with_a_hyphen(tmp_path):
    for name in ("orders.py", "sync-bot"):
        assert command_line(name, "--log", tmp_path / name).returncode == 0


def test_ctrl_c_reaches_the_example_and_is_waited_for(tmp_path):
    command = [sys.executable, "-m", "aresbus", "example", "processes", "--log", str(tmp_path / "log")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert "appends 600 events" in process.stdout.readline()
        # As a terminal does: to every process of the group.
        subprocess.run(["kill", "-INT", "--", f"-{process.pid}"], check=True)
        process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    with aresbus.open(tmp_path / "log") as log:
        assert log.verify()["findings"] == []
