"""The SIGTERM recipe, with a real signal to a real process: what was acknowledged is there, the log is closed cleanly."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import aresbus
import pytest
from bad_day_support import heard_out

EXAMPLE = Path(aresbus.__file__).parent / "examples" / "sigterm.py"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("lines", [1, 300])
def test_a_signal_loses_nothing(tmp_path, number, lines):
    command = [sys.executable, "-W", "error", str(EXAMPLE), str(tmp_path / "log"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        acknowledged = [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(number)
        process.send_signal(number)  # an impatient supervisor
        rest, errors = heard_out(process)
    assert process.returncode == 0, errors
    *more, last = rest.splitlines()
    acknowledged += more
    stopped = re.fullmatch(r"stopped: (\d+) published, (\d+) handled", last)
    assert [int(count) for count in stopped.groups()] == [len(acknowledged)] * 2
    with aresbus.open(tmp_path / "log", mode="r") as log:
        assert log.recovery["clean"]
        assert [event.event_id for event in log.read()] == acknowledged
        assert log.durable_seq == len(acknowledged) - 1


def test_it_goes_on_where_it_stopped(tmp_path):
    for count in (1, 2):
        command = [sys.executable, str(EXAMPLE), str(tmp_path / "log"), "0.1"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        with aresbus.open(tmp_path / "log", mode="r") as log:
            assert log.recovery["clean"]
            assert log.epoch == 1
            assert log.last_seq >= count
