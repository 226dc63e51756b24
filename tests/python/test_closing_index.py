"""What a clean close leaves for the next opening: with it, without it, and with a wrong one the log is the same."""

import shutil
import subprocess
import sys
import textwrap

import aresbus
import pytest
from aresbus import CorruptionError

OPTIONS = {"segment_bytes": 1 << 20, "sealing": "none", "audit": False}
COUNT = 6_000
AGGREGATES = 7


def batch(first: int, count: int) -> list[dict]:
    return [
        {"event_type": "tick", "data": {"n": n, "text": "x" * 300}, "aggregate_id": f"agg-{n % AGGREGATES}"}
        for n in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A log of several raw segments, closed."""
    folder = tmp_path_factory.mktemp("closing") / "log"
    with aresbus.open(folder, **OPTIONS) as log:
        for first in range(0, COUNT, 500):
            log.append_many(batch(first, 500))
        assert len(log.stats()["segments"]) > 2
    return folder


@pytest.fixture
def folder(closed, tmp_path):
    return shutil.copytree(closed, tmp_path / "log")


def index_of(folder):
    (index,) = (folder / "segments").glob("*.idx")
    return index


def flip(path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def damage_a_record(folder) -> None:
    flip(min((folder / "segments").glob("*.log")), 50_000)


def assert_same(folder, count: int = COUNT) -> None:
    """Versions, positions and events as they should be, then one more of each aggregate, then the same again."""
    for mode in ("r", "rw"):
        with aresbus.open(folder, mode=mode, **OPTIONS) as log:
            assert log.recovery["clean"]
            assert log.recovery["events"] == count
            for n in range(count - AGGREGATES, count):
                assert log.aggregate_version(f"agg-{n % AGGREGATES}") == n // AGGREGATES
            assert [event.data["n"] for event in log.read(after=count // 2, limit=3)] == [
                count // 2 + step for step in (1, 2, 3)
            ]
            assert next(iter(log.read(direction="backward"))).data["n"] == count - 1
            if mode == "rw":
                receipts = log.append_many(batch(count, AGGREGATES))
                assert [receipt.seq for receipt in receipts] == list(range(count, count + AGGREGATES))
                assert [receipt.aggregate_version for receipt in receipts] == [
                    n // AGGREGATES for n in range(count, count + AGGREGATES)
                ]
    with aresbus.open(folder, mode="r") as log:
        assert [event.data["n"] for event in log.read()] == list(range(count + AGGREGATES))
    assert aresbus.verify(folder)["findings"] == []


def test_the_next_opening_goes_on_where_the_log_was_closed(folder):
    assert_same(folder)
    assert_same(folder, COUNT + AGGREGATES)


def test_an_index_that_was_removed_is_done_without(folder):
    index_of(folder).unlink()
    assert_same(folder)


@pytest.mark.parametrize("where", ["header", "body", "cut off", "empty"])
def test_a_damaged_index_is_done_without(folder, where):
    index = index_of(folder)
    size = index.stat().st_size
    if where in {"header", "body"}:
        flip(index, 60 if where == "header" else size // 2)
    else:
        index.write_bytes(index.read_bytes()[: size // 2 if where == "cut off" else 0])
    assert_same(folder)


def test_an_index_of_an_earlier_close_is_done_without(folder):
    earlier = index_of(folder).read_bytes()
    with aresbus.open(folder, **OPTIONS) as log:
        log.append_many(batch(COUNT, AGGREGATES))
    index_of(folder).write_bytes(earlier)
    assert_same(folder, COUNT + AGGREGATES)


def test_with_it_damage_is_found_by_who_reads_there_and_by_verify(folder):
    damage_a_record(folder)
    with aresbus.open(folder, mode="r") as log:
        assert next(iter(log.read(direction="backward"))).data["n"] == COUNT - 1
        with pytest.raises(CorruptionError):
            list(log.read())
    assert [one["kind"] for one in aresbus.verify(folder)["findings"]] == ["record"]
    index_of(folder).unlink()
    with pytest.raises(CorruptionError):
        aresbus.open(folder, mode="r")


def test_a_writer_that_was_killed_vouches_for_nothing_that_its_predecessor_left(folder):
    program = """
        import os, signal, sys, aresbus
        log = aresbus.open(sys.argv[1], audit=False)
        log.append("tick", {"n": -1}, durability="always")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert index_of(folder).exists()
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(folder)], check=False)
    with aresbus.open(shutil.copytree(folder, folder.parent / "whole"), audit=False) as log:
        assert not log.recovery["clean"]
        assert log.recovery["events"] == COUNT + 1
    damage_a_record(folder)
    for mode in ("r", "rw"):
        with pytest.raises(CorruptionError):
            aresbus.open(folder, mode=mode, audit=False)


def test_a_segment_that_is_missing_or_cut_off_is_still_found_by_opening(folder):
    for path in sorted((folder / "segments").glob("*.log")):
        content = path.read_bytes()
        if not any(content[512:]):
            continue
        path.write_bytes(content[:-4096])
        with pytest.raises(CorruptionError):
            aresbus.open(folder, mode="r")
        path.unlink()
        with pytest.raises(CorruptionError):
            aresbus.open(folder, mode="r")
        path.write_bytes(content)
    assert_same(folder)
