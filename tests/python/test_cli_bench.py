"""``aresbus bench``: every figure beside its floor, what it says of the machine, and that nothing is left behind."""

import json
import signal
import subprocess
import sys

import pytest
from aresbus.cli import bench
from bad_day_support import PATIENCE_SECONDS, Mount, aresbus_command

SMALL = ("--events", 300, "--rounds", 1)
FIGURES = (
    "append",
    "append_many, 1,000 at once",
    "publish to handler, stored",
    "replay, untouched",
    "replay, data touched",
    "replay, data and metadata",
    "durable append (group)",
    "append to another process",
)


def test_every_figure_stands_beside_its_floor_and_nothing_is_left(tmp_path):
    done = aresbus_command("bench", tmp_path, *SMALL, "--json")
    assert done.returncode == 0
    shape = json.loads(done.stdout)
    assert tuple(one["what"] for one in shape["results"]) == FIGURES
    for one in shape["results"]:
        assert one["ratios"] == [one["ratio"]]
        assert one["ns"] / one["floor_ns"] == pytest.approx(one["ratio"])
    assert (shape["folder"], shape["events"], shape["rounds"]) == (str(tmp_path), 300, 1)
    assert {"aresbus", "build", "python", "system", "processor", "cores", "file_system"} <= set(shape)
    assert list(tmp_path.iterdir()) == []


def test_for_people_it_is_a_table_and_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "DEBUG_BUILD", True)
    done = aresbus_command("bench", tmp_path, *SMALL)
    assert done.returncode == 0
    assert all(figure in done.stdout for figure in FIGURES)
    assert str(tmp_path) in done.stdout
    assert "aresbus: this is a debug build of the engine" in done.stderr


def test_a_folder_without_a_disk_is_named(tmp_path):
    place = Mount(tmp_path / "memory", "256m")
    try:
        done = aresbus_command("bench", place.path, *SMALL)
    finally:
        place.unmount()
    assert done.returncode == 0
    assert f"{place.path} is on tmpfs, which has no disk" in done.stderr


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    done = aresbus_command("bench", tmp_path / "none", *SMALL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"aresbus: No such file or directory: {tmp_path / 'none'}\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_nothing_either(tmp_path, number, code):
    command = [sys.executable, "-m", "aresbus", "bench", str(tmp_path), "--rounds", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not [*tmp_path.glob("*/append/segments/*")]:
            pass
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
