"""``aresbus tail``: the newest events, then what comes; beside a writer, a retention that is faster, and no log at all."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from itertools import count

import aresbus
import pytest
from aresbus import ManualClock, RetentionPolicy
from bad_day_support import PATIENCE_SECONDS, aresbus_command
from test_retention import NOW_NS, drained, filled, opened, sealed


@pytest.fixture
def path(tmp_path):
    """Twenty events of four aggregates, every fifth one a note of source "desk"."""
    with aresbus.open(tmp_path / "log") as log:
        for n in range(20):
            kind, source = ("note", "desk") if n % 5 == 0 else ("trade", "spot")
            log.append(kind, {"n": n}, aggregate_id=f"a-{n % 4}", source=source, tags={"odd": str(n % 2)})
    return tmp_path / "log"


@contextmanager
def tailing(path, *arguments, **options):
    """A process that tails; it is gone when this is left."""
    command = [sys.executable, "-m", "aresbus", "tail", str(path), *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def seqs(lines) -> list[int]:
    return [json.loads(line)["seq"] for line in lines]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), range(10, 20)),
        (("-n", 3), [17, 18, 19]),
        (("-n", 0), []),
        (("-n", 100), range(20)),
        (("-n", 2, "--type", "note"), [10, 15]),
        (("-n", 2, "--type", "no*", "--tag", "odd=0"), [0, 10]),
        (("-n", 2, "--aggregate", "a-1"), [13, 17]),
        (("-n", 1, "--source", "desk"), [15]),
        (("--after", 17), [18, 19]),
        (("-n", 2, "--up-to", 4), [3, 4]),
        (("-n", 2, "--up-to", 99), [18, 19]),
        (("-n", 1, "--until", 0), []),
        (("-n", 1, "--durable"), [19]),
        (("--correlation", "none"), []),
    ],
)
def test_the_newest_that_match_the_oldest_of_them_first(path, arguments, expected):
    done = aresbus_command("tail", path, "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert seqs(done.stdout.splitlines()) == list(expected)


def test_a_line_an_event_as_read_prints_it(path):
    assert (
        aresbus_command("tail", path, "-n", 2).stdout == aresbus_command("read", path, "--after", 17).stdout
    )


@pytest.mark.parametrize("arguments", [("--up-to", "7"), ("--since", "0"), ("--durable",)])
def test_what_is_followed_has_no_end(path, arguments, capsys):
    with pytest.raises(SystemExit) as left:
        aresbus_command("tail", path, "-f", *arguments)
    assert left.value.code == 2


def test_what_another_process_writes_comes_once_and_in_order(path):
    with aresbus.open(path) as log, tailing(path, "-f", "-n", 5, "--json") as process:
        found = []
        for n in range(500):
            log.append("note", n)
            found += seqs([process.stdout.readline()])
        assert found == list(range(found[0], found[0] + 500))
        assert found[0] >= 15
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert (process.wait(PATIENCE_SECONDS), process.stderr.read()) == (0, "")


def test_an_empty_log_is_followed_from_its_first_event_and_filters_hold(tmp_path):
    path = tmp_path / "log"
    with aresbus.open(path) as log, tailing(path, "--follow", "--type", "note", "--json") as process:
        numbers = count()
        os.set_blocking(process.stdout.fileno(), False)
        while not (line := process.stdout.readline()):  # it is not known when it has begun to wait
            log.append("trade", next(numbers))
            log.append("note", next(numbers))
        event = json.loads(line)
        assert (event["event_type"], event["seq"]) == ("note", event["data"])


def test_retention_that_passes_by_is_told_and_the_rest_comes(tmp_path):
    """The reader stands still because nobody takes its output."""
    with opened(tmp_path / "log", ManualClock(NOW_NS)) as log:
        filled(log, 400)
        with tailing(tmp_path / "log", "-f", "-n", 400, "--json") as process:
            assert json.loads(process.stdout.readline())["seq"] == 0
            filled(log, 4_000)
            sealed(log)
            drained(log, RetentionPolicy(max_events=150))
            first = log.first_seq
            assert first > 2_000
            found = [0]
            while found[-1] < log.last_seq:
                found += seqs([process.stdout.readline()])
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=PATIENCE_SECONDS)[1]
        (lost,) = [json.loads(line)["lost"] for line in rest.splitlines()]
        assert lost["to_seq"] == first
        assert found == [*range(lost["from_seq"]), *range(first, log.last_seq + 1)]


def test_of_an_aggregate_that_has_lost_events_it_says_so(tmp_path):
    with opened(tmp_path / "log", ManualClock(NOW_NS)) as log:
        filled(log, 400)
        sealed(log)
        drained(log, RetentionPolicy(max_events=150))
        done = aresbus_command("tail", log.path, "-n", 1_000, "--aggregate", "order-3")
        assert done.returncode == 0
        assert done.stderr == f"aresbus: seq 0 to {log.first_seq - 1} expired before they could be shown\n"
        whole = aresbus_command("tail", log.path, "-n", 1_000, "--json")
        assert whole.stderr == ""
        assert seqs(whole.stdout.splitlines()) == list(range(log.first_seq, log.last_seq + 1))


@pytest.mark.parametrize("follow", [(), ("-f",)])
def test_where_there_is_no_log_it_says_what_to_do(tmp_path, follow):
    done = aresbus_command("tail", tmp_path / "none", *follow)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"aresbus: there is no log in {tmp_path / 'none'} yet: start the program")
    assert not (tmp_path / "none").exists()


def test_whoever_reads_the_output_may_go_away(path):
    with aresbus.open(path) as log, tailing(path, "-f", "-n", 1) as process:
        assert process.stdout.readline()
        process.stdout.close()
        while process.poll() is None:
            log.append("note", 1)
        assert (process.returncode, process.stderr.read()) == (0, "")
