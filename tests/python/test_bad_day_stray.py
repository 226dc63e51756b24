"""What else lies in a log's folder: files of others are left alone and reported, also the older Ares layout.

And things that are no files where files should be: a typed error, and never a wait without end.
"""

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import aresbus
import pytest
from aresbus import CorruptionError, FileEventStore, StorageError
from bad_day_support import (
    CHILDREN,
    aresbus_command,
    contents,
    first_segment,
    make_log,
    numbers,
    refused,
)
from bus_support import TRADE, make_bus, run

EVENT_LINE = '{"event_type": "trade_executed", "data": {"n": 1}, "metadata": {"event_id": "e-1"}}\n'
OLD_LAYOUT = {
    "events/2024-08-08.jsonl": EVENT_LINE,
    "events/trade_executed_2024-08-09.jsonl": EVENT_LINE * 3,
    "snapshots/system_1723161253.json": '{"aggregate_id": "system"}',
    "snapshots/order-1_7.json": '{"aggregate_id": "order-1"}',
    "event_store/events/2024-08-07.jsonl": EVENT_LINE,
    "event_store/snapshots/system_1.json": "{}",
    "index.json": "{}",
}


@pytest.fixture
def log(tmp_path):
    return make_log(tmp_path / "log")


def lay(folder: Path, files) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# Files of others


def test_the_older_ares_layout_beside_the_log_is_left_alone(tmp_path):
    folder = tmp_path / "event_store"
    lay(folder, OLD_LAYOUT)

    async def act():
        async with make_bus(folder, snapshot_frequency=5) as bus:
            for _ in range(12):
                await bus.publish("trade_executed", TRADE, aggregate_id="order-1")
        async with make_bus(folder, snapshot_frequency=5) as bus:
            assert len(await bus.replay_events()) == 12
            state = await bus.rebuild_from_events("order-1")
            assert len(state["trades"]) == 12
            assert bus.metrics["snapshots_ignored"] == 0

    run(act())
    for name, text in OLD_LAYOUT.items():
        assert (folder / name).read_text() == text
    with aresbus.open(folder) as log:
        assert {"events", "event_store", "index.json"} <= set(log.recovery["stray_files"])
    assert aresbus_command("read", folder).stdout.count("\n") == 12


def test_a_store_and_a_reader_open_beside_the_older_layout_too(tmp_path):
    lay(tmp_path, OLD_LAYOUT)
    with pytest.raises(FileNotFoundError, match="no log"):
        aresbus.open(tmp_path, mode="r")
    store = FileEventStore(tmp_path)
    assert run(store.save_event(aresbus.Event("risk_alert", 1)))
    assert run(store.get_latest_snapshot("order-1")) is None
    store.close()
    assert numbers(tmp_path) == [1]


def test_stray_files_and_folders_are_reported_and_left_alone(log):
    names = [
        "notes.txt",
        "segments/README",
        "segments/1.log",
        "segments/0000000000000001.log.bak",
        "core",
        "META.old",
    ]
    lay(log, dict.fromkeys(names, "mine"))
    (log / "segments" / "old").mkdir()
    (log / "folder" / "deep").mkdir(parents=True)
    (log / "\udcff not text").write_bytes(b"")
    os.mkfifo(log / "pipe")
    with aresbus.open(log) as writer:
        assert set(names) < set(writer.recovery["stray_files"])
        assert {"segments/old", "folder", "pipe"} < set(writer.recovery["stray_files"])
        writer.append("note", 5)
        assert {one["severity"] for one in writer.verify()["findings"]} == {"warning"}
    assert numbers(log) == [0, 1, 2, 3, 4, 5]
    assert all((log / name).read_text() == "mine" for name in names)
    done = aresbus_command("info", log)
    assert (done.returncode, done.stderr) == (0, "")
    assert "notes.txt" in done.stdout
    # Worth a line, not an alarm: an older layout may lie beside every log of a user.
    done = aresbus_command("verify", log)
    assert done.returncode == 0
    assert "notes.txt" in done.stdout


def test_left_overs_of_a_preparation_are_no_stray_files(log):
    left = log / "segments" / "0000000000000009.tmp"
    left.write_bytes(b"half")
    with aresbus.open(log) as writer:
        assert writer.recovery["stray_files"] == []
    assert not left.exists()


# Things that are no files


def as_folder(path):
    path.mkdir()


def as_link_to_nothing(path):
    path.symlink_to("/nonexistent/place")


def as_link_to_itself(path):
    path.symlink_to(path.name)


def as_socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's whole path may be too long for its address
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def as_fifo(path):
    os.mkfifo(path)


THINGS = [as_folder, as_link_to_nothing, as_link_to_itself, as_socket]
PLACES = ["META", "segments/0000000000000001.log", "segments/0000000000000009.log"]
WRITERS_PLACES = ["LOCK", "audit", "audit/META", "audit/LOCK"]


def put(thing, path) -> None:
    """Put the thing where the file was."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    thing(path)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_no_file_in_the_place_of_a_file_is_a_typed_error(log, place, thing):
    put(thing, log / place)
    before = contents(log)
    for mode in ("r", "rw"):
        with pytest.raises(StorageError) as caught:
            aresbus.open(log, mode=mode)
        assert type(caught.value) in {StorageError, CorruptionError}
        assert caught.value.path == str(log / place)
        assert str(log / place) in caught.value.message
        assert caught.value.errno in {errno.EISDIR, errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EIO}
    assert contents(log) == before
    done = aresbus_command("verify", log)
    assert done.returncode in {1, 2}
    assert str(log / place) in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("place", "thing"),
    [
        (place, thing)
        for place in WRITERS_PLACES
        for thing in [*THINGS, as_fifo]
        if (place, thing) not in {("audit", as_folder), ("audit/META", as_fifo)}
    ],
)
def test_what_only_writers_need_keeps_no_reader_away(log, place, thing):
    put(thing, log / place)
    with pytest.raises(StorageError) as caught:
        aresbus.open(log)
    assert caught.value.path.startswith(str(log / Path(place).parts[0]))
    assert numbers(log) == [0, 1, 2, 3, 4]


def test_a_fifo_is_no_reason_to_wait_for_ever(tmp_path):
    acts = []
    for number, (place, act) in enumerate(
        (place, act) for place in PLACES for act in ("open_r", "open_rw", "verify")
    ):
        log = make_log(tmp_path / str(number))
        put(as_fifo, log / place)
        acts.append(
            subprocess.Popen([sys.executable, CHILDREN, act, str(log)], stderr=subprocess.PIPE, text=True)
        )
    try:
        for process in acts:
            _, err = process.communicate(timeout=3)
            assert "StorageError" in err
    finally:
        for process in acts:
            process.kill()
            process.communicate()


# Links that lead to files are as good as files


def test_a_log_reached_through_links_is_the_log(log, tmp_path):
    moved = tmp_path / "elsewhere"
    first_segment(log).rename(moved)
    first_segment(log).symlink_to(moved)
    (tmp_path / "link").symlink_to(log)
    with aresbus.open(tmp_path / "link") as writer:
        assert writer.append("note", 5).seq == 5
        with pytest.raises(aresbus.LogLockedError):
            aresbus.open(log)
    assert numbers(log) == [0, 1, 2, 3, 4, 5]


def test_a_file_where_the_log_should_be(tmp_path):
    place = tmp_path / "log"
    place.write_text("mine")
    with refused(StorageError, place, errno=errno.ENOTDIR):
        aresbus.open(place)
    with pytest.raises(OSError, match="log"):
        aresbus.open(place, mode="r")
    done = aresbus_command("read", place)
    assert done.returncode == 2
    assert str(place) in done.stderr
    assert "Traceback" not in done.stderr
    assert place.read_text() == "mine"
