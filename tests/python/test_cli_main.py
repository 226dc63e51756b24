"""What holds for every verb: help at once, exit codes, one line for an error, closed pipes, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aresbus
import pytest
from aresbus.cli import main
from bad_day_support import heard_out

VERBS = (
    *("demo", "example", "record", "read", "tail", "info", "verify", "explain", "replay", "rebuild"),
    *("head", "prove", "trace", "latency", "audit", "audit export", "import-legacy", "export"),
    *("subscriptions", "parked", "parked redeliver", "parked drop", "schema", "top", "doctor", "bench"),
    *("snapshots list", "snapshots check", "snapshots drop"),
)
HELP_LIMIT_S = 0.1


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aresbus", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "log"
    with aresbus.open(path) as opened:
        for number in range(2_000):
            opened.append("counted", {"n": number, "text": "x" * 100}, aggregate_id="a")
    return path


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from aresbus.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'asyncio', 'numpy', 'orjson', 'rich', 'aresbus._core', 'logging'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_answers_at_once():
    def seconds(command: list[str]) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], capture_output=True, check=True)
        return time.perf_counter() - began

    # The least of some runs: what else the machine does only adds.
    bare = min(seconds(["-c", "pass"]) for _ in range(9))
    helped = min(seconds(["-m", "aresbus", "--help"]) for _ in range(9))
    # The limit is for a machine that starts Python in 20 ms; a loaded one gets the same multiple.
    assert helped < max(HELP_LIMIT_S, 5 * bare)


def test_names_that_are_imported_late_are_all_there():
    assert sorted(aresbus.__all__) == sorted({*aresbus._HOME_OF, "reports"})
    assert set(aresbus.__all__) <= set(dir(aresbus))
    for name in aresbus.__all__:
        assert getattr(aresbus, name) is getattr(aresbus, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        aresbus.nonsense  # noqa: B018 - the access is the subject


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_json_and_debug(verb, capsys):
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert "--debug" in text


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("aresbus 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["read"],
        ["record", "x"],
        ["record", "x", "--log", "y", "--source", ""],
        ["record", "x", "--log", "y", "--source", "s" * 256],
        ["read", "x", "--limit", "-1"],
        ["read", "x", "--since", "2024-08-08T23:54:13"],
        ["read", "x", "--since", "yesterday"],
        ["read", "x", "--follow", "--up-to", "7"],
        ["read", "x", "--follow", "--durable"],
        ["read", "x", "--follow", "--backward"],
        ["read", "x", "--tag", "no equals sign"],
        ["read", "x", "--tag", "k=1", "--tag", "k=2"],
        ["read", "x", "--raw", "--json"],
        ["tail", "x", "-n", "-1"],
        ["tail", "x", "--follow", "--until", "7"],
        ["bench", "--rounds", "0"],
        ["rebuild", "x"],
        ["rebuild", "x", "a", "--time", "soon"],
        ["rebuild", "x", "a", "--reducer", "module"],
        ["top"],
        ["top", "x", "--interval", "0"],
        ["top", "x", "--interval", "nan"],
        ["top", "x", "--interval", "soon"],
        ["import-legacy", "x"],
        ["export", "x", "--out", "y"],
        ["export", "x", "--jsonl"],
        ["export", "x", "--out", "y", "--jsonl", "--csv"],
        ["export", "x", "--out", "y", "--parquet", "--zstd"],
    ],
)
def test_a_usage_error_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage:")


@pytest.mark.parametrize("verb", ["read", "info", "verify", "top"])
def test_a_missing_log_is_one_line_and_2(verb, tmp_path, capsys):
    assert main([verb, str(tmp_path / "nothing")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"aresbus: there is no log in {tmp_path / 'nothing'}\n"


def test_an_error_of_aresbus_has_code_advice_and_no_traceback(log, tmp_path):
    with aresbus.open(log):
        done = run("record", os.devnull, "--log", log, "--source", "x")
    assert done.returncode == 2
    assert "[AB0003]" in done.stderr
    assert str(os.getpid()) in done.stderr
    assert "aresbus explain AB0003" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(log):
    with aresbus.open(log):
        done = run("record", os.devnull, "--log", log, "--source", "x", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "LogLockedError" in done.stderr


def test_with_json_an_error_is_json_too(log):
    with aresbus.open(log):
        done = run("record", os.devnull, "--log", log, "--source", "x", "--json")
    assert done.returncode == 2
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert (error["code"], error["pid"]) == ("AB0003", os.getpid())


@pytest.mark.parametrize("extra", [[], ["--json"], ["--raw"]])
def test_a_reader_that_goes_away_is_no_error(log, extra):
    command = [sys.executable, "-m", "aresbus", "read", str(log), *extra]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 0


def test_an_output_that_is_full_is_one_line_and_2(log):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "aresbus", "read", str(log)]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert (done.returncode, done.stderr) == (2, "aresbus: No space left on device\n")


def test_a_terminal_without_the_signs_gets_their_numbers_and_json_is_utf_8(tmp_path):
    with aresbus.open(tmp_path / "log") as opened:
        opened.append("note", {"text": "grüße"})
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run("read", tmp_path / "log", env=ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert '{"text":"gr\\xfc\\xdfe"}' in done.stdout
    assert json.loads(run("read", tmp_path / "log", "--json", env=ascii_only).stdout)["data"] == {
        "text": "grüße"
    }


def interrupted(
    arguments: list[object], ready: str, feed: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a verb, send SIGINT once ``ready`` was printed (or the feed was eaten), return how it ended."""
    command = [sys.executable, "-m", "aresbus", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False
    ) as process:
        if feed is not None:
            process.stdin.write(feed)
            process.stdin.flush()
        out = b""
        while ready.encode() not in out:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            out += line
        process.send_signal(signal.SIGINT)
        rest, err = heard_out(process)
        return subprocess.CompletedProcess(command, process.returncode, (out + rest).decode(), err.decode())


def test_ctrl_c_ends_a_followed_read_quietly(log):
    done = interrupted(["read", log, "--follow", "--after", 1_997], ready='"n":1999')
    assert done.returncode == 0
    assert done.stderr == ""


def test_ctrl_c_in_demo_leaves_no_process_and_a_log_that_opens(tmp_path):
    done = interrupted(["demo", "--log", tmp_path / "log"], ready="1 record")
    assert done.returncode == 130
    assert done.stderr == "aresbus: interrupted\n"
    pid = int(done.stdout.split("process ")[1].split()[0])
    assert not Path(f"/proc/{pid}").exists()
    if (tmp_path / "log").exists():
        with aresbus.open(tmp_path / "log") as opened:
            assert opened.verify()["findings"] == []


@pytest.mark.parametrize("verb", ["read", "info", "verify", "explain", "doctor"])
def test_ctrl_c_anywhere_else_exits_with_130(verb, log, monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    module = __import__(f"aresbus.cli.{verb}", fromlist=["run"])
    monkeypatch.setattr(module, "run", interrupt)
    assert main([verb, str(log)]) == 130
    assert capsys.readouterr().err == "aresbus: interrupted\n"
