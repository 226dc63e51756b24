"""``aresbus doctor``: each question on this machine, each verdict on made-up answers, exit codes, a real terminal."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import aresbus
import pytest
from aresbus.cli import diagnosis, machine, main
from aresbus.vital_signs import DiskSpace
from terminal_support import on_terminal


@pytest.fixture(autouse=True)
def _bare_configuration(tmp_path, monkeypatch):
    """No configuration but what a test gives."""
    for name in list(os.environ):
        if name.startswith("ARESBUS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _quiet_clock(monkeypatch):
    """A machine with a good clock, on a disk with room."""
    monkeypatch.setattr(diagnosis, "clock_state", lambda: machine.ClockState(True, 0.0001, 0.001))
    monkeypatch.setattr(diagnosis, "clock_source", lambda: "tsc")
    monkeypatch.setattr(diagnosis, "mount_of", lambda path: machine.Mount("ext4", "/", frozenset(["rw"])))
    monkeypatch.setattr(diagnosis, "disk_space", lambda path: DiskSpace(50 << 30, 100 << 30, 10**6, 10**7))


def examined(capsys, *arguments) -> tuple[int, dict[str, dict]]:
    code = main(["doctor", *map(str, arguments), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] == (code == 0)
    return code, {one["name"]: one for one in document["items"]}


def test_the_real_machine_answers_every_question(tmp_path, capsys):
    with aresbus.open(tmp_path / "log") as log:
        log.append("note", 1)
    _, items = examined(capsys, tmp_path / "log")
    for name in (
        "file system", "disk", "inodes", "access", "lock", "state", "kernel", "clock", "clock source", "/dev/shm",
        "open files", "limit of file size", "python", "aresbus", "orjson", "numpy",
    ):  # fmt: skip
        assert items[name]["value"], name
    assert items["state"]["value"] == "1 event, newest seq 0"
    assert all(one["advice"] for one in items.values() if one["status"] == "finding")


@pytest.mark.usefixtures("_quiet_clock")
def test_a_good_machine_exits_with_0_and_says_so(tmp_path, capsys):
    assert main(["doctor", str(tmp_path / "log")]) == 0
    text = capsys.readouterr().out
    assert text.endswith("nothing to do\n")
    assert "there is no log in" in text
    assert not (tmp_path / "log").exists()


@pytest.mark.usefixtures("_quiet_clock")
def test_every_key_is_shown_with_where_it_comes_from(tmp_path, capsys, monkeypatch):
    (tmp_path / "aresbus.toml").write_text("[event_bus]\nbatch_size = 7\nmax_history = 5\n")
    monkeypatch.setenv("ARESBUS_MAX_HISTORY", "9")
    code, items = examined(capsys)
    assert code == 0
    for name, value, origin in (
        ("batch_size", "7", "from aresbus.toml"),
        ("max_history", "9", "from ARESBUS_MAX_HISTORY"),
        ("max_retry_count", "3", "from default"),
    ):
        assert (items[name]["value"], items[name]["advice"]) == (value, origin)
    for name in aresbus.NOT_YET:
        assert "without effect" in items[name]["advice"]
    assert len([one for one in items.values() if one["section"] == "configuration"]) == 15


@pytest.mark.usefixtures("_quiet_clock")
def test_the_configured_path_is_examined_where_none_is_given(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ARESBUS_STORAGE_PATH", str(tmp_path / "mine"))
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log"] == str(tmp_path / "mine")


@pytest.mark.usefixtures("_quiet_clock")
def test_every_fault_of_the_configuration_is_a_finding_and_the_rest_is_examined(capsys, monkeypatch):
    monkeypatch.setenv("ARESBUS_BATCH_SIZE", "many")
    monkeypatch.setenv("ARESBUS_BATCH_SISE", "5")
    assert main(["doctor", "--json"]) == 1
    items = json.loads(capsys.readouterr().out)["items"]
    faults = [one["value"] for one in items if one["section"] == "configuration"]
    assert len(faults) == 2
    assert {one["section"] for one in items} == {"configuration", "log", "machine", "versions"}


@pytest.mark.usefixtures("_quiet_clock")
def test_a_lock_that_is_held_names_its_holder_and_is_not_taken(tmp_path, capsys):
    with aresbus.open(tmp_path / "log"):
        _, held = examined(capsys, tmp_path / "log")
    _, free = examined(capsys, tmp_path / "log")
    assert f"held by process {os.getpid()}" in held["lock"]["value"]
    assert free["lock"]["value"] == "free: no writer"


@pytest.mark.usefixtures("_quiet_clock")
def test_a_log_that_was_killed_is_a_note_and_one_that_is_damaged_a_finding(tmp_path, capsys):
    code = (
        "import os, sys, aresbus\n"
        "log = aresbus.open(sys.argv[1])\n"
        "for n in range(100): log.append('note', n)\n"
        "log.sync(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "log")], check=False)
    assert examined(capsys, tmp_path / "log")[0] == 0
    with aresbus.open(tmp_path / "log", sealing="off"):  # what is behind a cut would be sealed meanwhile
        pass
    (segment,) = (tmp_path / "log" / "segments").glob("*1.log")
    with segment.open("r+b") as file:
        file.seek(12_288 + 40)
        file.write(b"damage!!")  # below the watermark that the closing left
    found, items = examined(capsys, tmp_path / "log")
    assert found == 1
    assert "[AB0006]" in items["state"]["value"]
    assert "aresbus verify" in items["state"]["advice"]


@pytest.mark.usefixtures("_quiet_clock")
def test_what_was_cut_off_is_a_finding_until_somebody_looked(tmp_path, capsys):
    with aresbus.open(tmp_path / "log"):
        pass
    kept = tmp_path / "log" / "quarantine" / "1"
    kept.mkdir(parents=True)
    (kept / "bytes").write_bytes(b"x" * 100)
    code, items = examined(capsys, tmp_path / "log")
    assert (code, items["quarantine"]["value"]) == (1, "1 file, 100 bytes")


def test_a_file_in_the_place_of_the_log_could_not_be_examined(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(["doctor", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"aresbus: this is no folder: {tmp_path / 'file'}\n"


# Verdicts


@pytest.mark.parametrize(
    ("kind", "options", "status"),
    [
        ("ext4", ["rw"], "ok"),
        ("xfs", ["rw"], "ok"),
        ("ext4", ["ro"], "finding"),
        ("nfs4", ["rw"], "finding"),
        ("btrfs", ["rw"], "finding"),
        ("zfs", ["rw"], "finding"),
        ("tmpfs", ["rw"], "finding"),
        ("overlay", ["rw"], "finding"),
    ],
)
def test_file_systems(kind, options, status):
    assert diagnosis._file_system(machine.Mount(kind, "/x", frozenset(options))).status == status


@pytest.mark.parametrize(
    ("space", "statuses"),
    [
        (DiskSpace(2 << 30, 3 << 30, 10**6, 10**7), ["ok", "ok"]),
        (DiskSpace(1 << 20, 3 << 30, 10**6, 10**7), ["finding", "ok"]),
        (DiskSpace(2 << 30, 3 << 30, 5, 10**7), ["ok", "finding"]),
        (DiskSpace(2 << 30, 3 << 30, 0, 0), ["ok"]),
    ],
)
def test_disks(space, statuses):
    assert [one.status for one in diagnosis._space(space)] == statuses


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (None, "note"),
        (machine.ClockState(False, 16, 16), "finding"),
        (machine.ClockState(True, 0.0001, 0.01), "ok"),
        (machine.ClockState(True, 0.0001, 0.5), "note"),
    ],
)
def test_clocks(state, status):
    assert diagnosis._clock(state).status == status


@pytest.mark.parametrize(("source", "status"), [("tsc", "ok"), ("hpet", "finding"), (None, "note")])
def test_clock_sources(source, status):
    assert diagnosis._source(source).status == status


def test_limits_of_the_process(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    files, size, space = diagnosis._limits()
    assert (files.status, files.value) == ("finding", "256 (at most 4,096)")
    assert {size.status, space.status} == {"finding"}


def test_without_shared_memory_readers_go_on(tmp_path):
    item = diagnosis._shared_memory(tmp_path / "none")
    assert item.status == "note"
    assert "readers look at the files" in item.advice


# The machine


def test_the_deepest_mount_counts_and_names_may_hold_blanks(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    folder = tmp_path / "a place"
    folder.mkdir()
    escaped = str(folder).replace(" ", "\\040")
    table.write_text(
        "22 27 0:21 / / rw,relatime - ext4 /dev/root rw\n"
        f"23 27 0:22 / {escaped} rw,nosuid shared:1 - xfs /dev/b rw\n"
        f"24 27 0:23 / {escaped}er ro - tmpfs none rw\n"
    )
    monkeypatch.setattr(machine, "MOUNTS", table)
    assert machine.mount_of(folder) == machine.Mount("xfs", str(folder), frozenset(["rw", "nosuid"]))
    assert machine.mount_of(tmp_path).kind == "ext4"
    monkeypatch.setattr(machine, "MOUNTS", tmp_path / "none")
    assert machine.mount_of(folder) is None


def test_who_only_waits_for_a_lock_does_not_hold_it(tmp_path, monkeypatch):
    lock = tmp_path / "LOCK"
    lock.write_text("pid=7 host=h\n")
    found = lock.stat()
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    locks = tmp_path / "locks"
    monkeypatch.setattr(machine, "LOCKS", locks)
    locks.write_text(f"1: -> FLOCK  ADVISORY  WRITE 9 {file} 0 EOF\n")
    assert machine.lock_state(lock) == machine.LockState(None, "pid=7 host=h")
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE 7 {file} 0 EOF\n")
    assert machine.lock_state(lock) == machine.LockState(7, "pid=7 host=h")
    assert machine.lock_state(tmp_path / "none") is None


def test_the_kernel_is_asked_about_its_clock_and_nothing_changes():
    state = machine.clock_state()
    assert state is None or state.maximum_error >= 0
    again = machine.clock_state()
    assert state is None or again.is_synchronised == state.is_synchronised


def test_on_a_terminal_it_is_the_same_with_frames(tmp_path):
    shown = on_terminal("doctor", tmp_path / "log", size=(200, 160))
    assert shown.code in {0, 1}
    assert "╭" in shown.text
    for section in ("configuration", "machine", "versions", "storage_path"):
        assert section in shown.text
    assert "Traceback" not in shown.text


def test_hostile_names_cannot_steer_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARESBUS_STORAGE_PATH", "\x1b[31mred")
    main(["doctor"])
    assert "\x1b" not in capsys.readouterr().out


def test_it_loads_on_a_machine_without_extras():
    code = (
        "import sys\n"
        "for name in ('rich', 'prometheus_client', 'opentelemetry'): sys.modules[name] = None\n"
        "from aresbus.cli import main\n"
        "assert main(['doctor', sys.argv[1], '--json']) in (0, 1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "log"], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"]
