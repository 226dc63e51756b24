"""What still reads of a damaged log is copied out, from behind damage too, and the rest is named exactly."""

import os
from pathlib import Path

import aresbus
import orjson
import pytest
from aresbus import ExportError, salvage
from rescue_support import (
    RECORDS_OFFSET,
    copied,
    directory_offset,
    flip,
    numbers,
    raw_and_sealed,
    segments,
    snapshot_of,
    swap,
    wipe,
)

COUNT = 1_500


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[bool, Path]:
    return raw_and_sealed(tmp_path_factory, COUNT)


def lines(path: Path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def seqs(path: Path) -> list[int]:
    return [one["metadata"]["sequence_number"] for one in lines(path)]


def missing(report) -> list[int]:
    """Positions that the report calls unreadable."""
    found = set()
    for one in report.unread:
        if one["first_seq"] is not None and one["last_seq"] is not None:
            found |= set(range(one["first_seq"], one["last_seq"] + 1))
    return sorted(found)


@pytest.mark.parametrize("sealed", [False, True])
def test_of_a_whole_log_everything_reads(whole, tmp_path, sealed):
    report = salvage(whole[sealed], tmp_path / "out.jsonl")
    assert (report.events, report.first_seq, report.last_seq, report.unread) == (COUNT, 0, COUNT - 1, [])
    with aresbus.open(whole[sealed], mode="r") as log:
        for event, line in zip(log.read(), lines(tmp_path / "out.jsonl"), strict=True):
            assert line["metadata"] == event.to_dict()["metadata"]
            assert line["data"] == event.data
    assert salvage(whole[sealed], tmp_path / "again").unread == []
    with aresbus.open(whole[sealed], mode="r") as old, aresbus.open(tmp_path / "again", mode="r") as new:
        for one, other in zip(old.read(), new.read(), strict=True):
            assert (one.event_id, one.raw, one.aggregate_version) == (
                other.event_id,
                other.raw,
                other.aggregate_version,
            )
            assert (one.ts_ns, one.source, one.tags) == (other.event_time_ns, other.source, other.tags)


def test_a_flipped_bit_costs_one_event_and_the_log_is_only_read(whole, tmp_path):
    folder = copied(whole, tmp_path)
    damaged = segments(folder)[2]
    flip(damaged, RECORDS_OFFSET + 20_000)
    before = snapshot_of(folder)
    report = salvage(folder, tmp_path / "out.jsonl")
    assert snapshot_of(folder) == before
    (unread,) = report.unread
    assert unread["path"] == str(damaged)
    assert RECORDS_OFFSET + 19_000 < unread["offset"] <= RECORDS_OFFSET + 20_000
    assert unread["first_seq"] == unread["last_seq"]
    assert seqs(tmp_path / "out.jsonl") == [n for n in range(COUNT) if n != unread["first_seq"]]


def test_every_flip_is_named_and_nothing_else_is_lost(whole, tmp_path):
    folder = copied(whole, tmp_path)
    damaged = segments(folder)[1]
    content = damaged.read_bytes()
    for at in range(0, 60_000, 1_777):
        flip(damaged, at, at % 8)
        out = tmp_path / f"{at}.jsonl"
        report = salvage(folder, out)
        assert sorted([*seqs(out), *missing(report)]) == list(range(COUNT)), at
        assert report.events >= COUNT - 3 or at < RECORDS_OFFSET, at
        damaged.write_bytes(content)


def test_of_a_sealed_segment_a_block_is_lost(whole, tmp_path):
    folder = copied(whole, tmp_path, sealed=True)
    flip(segments(folder)[2], 400)
    report = salvage(folder, tmp_path / "out.jsonl")
    assert sorted([*seqs(tmp_path / "out.jsonl"), *missing(report)]) == list(range(COUNT))
    assert 0 < len(missing(report)) < 400
    assert "checksum" in report.unread[0]["reason"]


@pytest.mark.parametrize("what", ["header", "directory", "cut off", "gone"])
def test_of_a_sealed_segment_all_is_lost_without_its_header_or_directory(whole, tmp_path, what):
    folder = copied(whole, tmp_path, sealed=True)
    path = segments(folder)[2]
    if what == "header":
        flip(path, 100)
    elif what == "directory":
        flip(path, directory_offset(path) + 30)
    elif what == "gone":
        path.unlink()
    else:
        with path.open("rb+") as file:
            file.truncate(directory_offset(path) + 10)
    report = salvage(folder, tmp_path / "out.jsonl")
    assert sorted([*seqs(tmp_path / "out.jsonl"), *missing(report)]) == list(range(COUNT))
    assert 0 < len(missing(report)) < 400


def test_without_the_tree_behind_its_directory_no_event_of_a_sealed_segment_is_lost(whole, tmp_path):
    folder = copied(whole, tmp_path, sealed=True)
    for path, change in zip(segments(folder)[1:3], (flip, os.truncate), strict=True):
        change(path, path.stat().st_size - 10)
    report = salvage(folder, tmp_path / "out.jsonl")
    assert (seqs(tmp_path / "out.jsonl"), missing(report)) == (list(range(COUNT)), [])


@pytest.mark.parametrize("what", ["header", "entry", "both pages", "swapped", "cut off", "meta", "meta gone"])
def test_what_only_describes_records_is_not_needed(whole, tmp_path, what):
    folder = copied(whole, tmp_path)
    path = segments(folder)[2]
    if what == "header":
        flip(path, 20)
    elif what == "entry":
        flip(path, 520)
    elif what == "both pages":
        wipe(path, 0, RECORDS_OFFSET)
    elif what == "swapped":
        swap(path, segments(folder)[3])
    elif what == "meta":
        wipe(folder / "META", 0, 8_192)
    elif what == "meta gone":
        (folder / "META").unlink()
    else:
        with path.open("rb+") as file:
            file.truncate(RECORDS_OFFSET + 30_000)
    report = salvage(folder, tmp_path / "out.jsonl")
    assert sorted([*seqs(tmp_path / "out.jsonl"), *missing(report)]) == list(range(COUNT))
    if what == "cut off":
        assert 50 < len(missing(report)) < 300
    else:
        assert report.events == COUNT
    assert bool(report.unread) == (what != "swapped")


def test_a_lost_text_costs_the_events_that_need_it_and_no_other(tmp_path):
    with aresbus.open(tmp_path / "log", sealing="off") as log:
        log.append("first", {"n": 0})
        log.append("second", {"n": 1})
        log.append("third", {"n": 2})
        log.append("second", {"n": 3})
        log.append("fourth", {"n": 4})
    path = segments(tmp_path / "log")[0]
    content = path.read_bytes()
    # The dictionary's record of the text comes before the first event that needs it.
    flip(path, content.index(b"second", RECORDS_OFFSET))
    report = salvage(tmp_path / "log", tmp_path / "out.jsonl")
    assert [one["event_type"] for one in lines(tmp_path / "out.jsonl")] == ["first", "third", "fourth"]
    assert missing(report) == [1, 3]


def test_of_a_torn_batch_what_reads_is_copied_and_the_batch_named(tmp_path):
    with aresbus.open(tmp_path / "log", sealing="off") as log:
        log.append("alone", {"n": "zero"})
        log.append_many([("together", {"n": n}) for n in ("one", "two", "three")])
        log.append("alone", {"n": "four"})
    path = segments(tmp_path / "log")[0]
    flip(path, path.read_bytes().index(b'"two"'))
    report = salvage(tmp_path / "log", tmp_path / "out.jsonl")
    assert [one["data"]["n"] for one in lines(tmp_path / "out.jsonl")] == ["zero", "one", "three", "four"]
    assert any(
        "batch" in one["reason"] and (one["first_seq"], one["last_seq"]) == (1, 3) for one in report.unread
    )


@pytest.mark.parametrize("sealed", [False, True])
def test_what_an_accepted_loss_set_aside_reads_in_quarantine(whole, tmp_path, sealed):
    folder = copied(whole, tmp_path, sealed=sealed)
    flip(segments(folder)[2], 400 if sealed else RECORDS_OFFSET + 20_000)
    with aresbus.open(folder, recover="accept_loss", sealing="off") as log:
        loss = log.recovery["loss"]
        log.append("order_placed", {"n": -1})
    first = loss["first_seq"]
    assert salvage(folder, tmp_path / "without.jsonl").unread == []
    assert seqs(tmp_path / "without.jsonl") == list(range(first + 1))
    report = salvage(folder, tmp_path / "with.jsonl", quarantine=True)
    assert report.events == first + 1 + loss["readable"]
    found = [one["data"]["n"] for one in lines(tmp_path / "with.jsonl")]
    assert len(set(found)) == len(found)
    assert sorted([*found, *missing(report)]) == [-1, *range(COUNT)]


def test_a_log_made_of_it_is_a_log(whole, tmp_path):
    folder = copied(whole, tmp_path)
    flip(segments(folder)[2], RECORDS_OFFSET + 20_000)
    report = salvage(folder, tmp_path / "made")
    found = numbers(tmp_path / "made")
    assert len(found) == report.events == COUNT - 1
    assert aresbus.verify(tmp_path / "made")["findings"] == []
    with aresbus.open(tmp_path / "made") as log:
        assert log.recovery["clean"]
        assert log.last_seq == COUNT - 2


def test_places_that_are_refused(whole, tmp_path):
    (tmp_path / "there.jsonl").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    for out in (
        tmp_path / "there.jsonl",
        tmp_path / "full",
        whole[False] / "inside",
        whole[False] / "inside.jsonl",
    ):
        with pytest.raises(ExportError):
            salvage(whole[False], out)
    with pytest.raises(FileNotFoundError):
        salvage(tmp_path / "full", tmp_path / "out")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["full", "there.jsonl"]


def test_by_the_command_line(whole, tmp_path, capsys):
    from aresbus.cli import main

    folder = copied(whole, tmp_path)
    assert main(["salvage", str(folder), str(tmp_path / "out.jsonl")]) == 0
    assert "everything read" in capsys.readouterr().out
    flip(segments(folder)[2], RECORDS_OFFSET + 20_000)
    assert main(["salvage", str(folder), str(tmp_path / "made")]) == 1
    said = capsys.readouterr().out
    assert f"{COUNT - 1:,} events salvaged" in said
    assert segments(folder)[2].name in said
