"""A lost META is made anew from the segments, on record; one that serves is left alone."""

import shutil
from pathlib import Path

import aresbus
import pytest
from aresbus import CorruptionError, LogLockedError, read_acts, repair
from rescue_support import copied, fill, flip, numbers, segments, snapshot_of, wipe

COUNT = 800


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[bool, Path]:
    made = {}
    for sealed in (False, True):
        made[sealed] = tmp_path_factory.mktemp("whole") / "log"
        fill(made[sealed], COUNT // 2, sealed=sealed)
        # A second epoch: the first life's clean mark is gone, as after a crash.
        wipe_clean_mark(made[sealed])
        fill(made[sealed], COUNT // 2, sealed=sealed, begin=COUNT // 2)
    return made


def wipe_clean_mark(folder: Path) -> None:
    """Let the log look as if its writer had been killed: put META back as it was while the writer lived."""
    with aresbus.open(folder, segment_bytes=65_536, sealing="off") as log:
        alive = (folder / "META").read_bytes()
        assert log.last_seq is not None
    (folder / "META").write_bytes(alive)


def lose(folder: Path, how: str) -> None:
    if how == "both copies":
        flip(folder / "META", 100)
        flip(folder / "META", 4_096 + 30)
    elif how == "zeros":
        wipe(folder / "META", 0, 8_192)
    elif how == "cut off":
        (folder / "META").write_bytes(b"AresMeta")
    else:
        (folder / "META").unlink()


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("how", ["gone", "both copies", "zeros", "cut off"])
def test_the_log_opens_again_with_all_its_events(whole, tmp_path, how, sealed):
    folder = copied(whole, tmp_path, sealed=sealed)
    with aresbus.open(folder, mode="r") as log:
        log_id, epoch = log.log_id, log.epoch
    assert epoch == 2
    lost = None if how == "gone" else b""
    lose(folder, how)
    if lost is not None:
        lost = (folder / "META").read_bytes()
    with pytest.raises(CorruptionError):
        aresbus.open(folder)
    report = repair(folder, reason="a test")
    assert report["damage"]
    assert report["meta"]["log_id"] == log_id
    assert report["meta"]["epoch"] == 2
    assert report["derived"]
    if lost is None:
        assert report["kept"] is None
    else:
        assert (folder / "quarantine" / report["kept"]).read_bytes() == lost
    with aresbus.open(folder) as log:
        assert log.epoch == 3
        assert log.log_id == log_id
        assert log.append("order_placed", {"n": COUNT}, aggregate_id="order-0").seq == COUNT
    assert numbers(folder) == list(range(COUNT + 1))
    assert [one for one in aresbus.verify(folder)["findings"] if one["severity"] == "error"] == []
    (act,) = read_acts(folder, act="log.repair")
    assert (act.outcome, act.actor["reason"]) == ("done", "a test")
    assert act.result["damage"] == report["damage"]


def test_one_copy_is_enough_and_left_alone(whole, tmp_path):
    folder = copied(whole, tmp_path)
    flip(folder / "META", 100)
    before = snapshot_of(folder / "segments"), (folder / "META").read_bytes()
    assert repair(folder)["damage"] is None
    assert (snapshot_of(folder / "segments"), (folder / "META").read_bytes()) == before
    assert not (folder / "quarantine").exists() or not list((folder / "quarantine").glob("META*"))
    assert numbers(folder) == list(range(COUNT))


def test_a_meta_older_than_the_segments_is_replaced(whole, tmp_path):
    folder = copied(whole, tmp_path)
    old = tmp_path / "old"
    fill(old, 10)
    shutil.rmtree(folder)
    shutil.copytree(old, folder)
    before = (folder / "META").read_bytes()
    fill(folder, 1_000, begin=10)
    (folder / "META").write_bytes(before)
    with pytest.raises(CorruptionError):
        aresbus.open(folder)
    assert "no segment above" in (repair(folder)["damage"] or "")
    assert numbers(folder) == list(range(1_010))


def test_a_front_that_is_gone_is_said(whole, tmp_path):
    folder = copied(whole, tmp_path)
    first = segments(folder)[0]
    first.unlink()
    (folder / "META").unlink()
    report = repair(folder)
    assert report["meta"]["first_seq"] > 0
    assert any("whether" in line for line in report["derived"])
    assert any("begin anew" in line for line in report["derived"])
    assert numbers(folder) == list(range(report["meta"]["first_seq"], COUNT))


def test_damage_elsewhere_stays_damage(whole, tmp_path):
    folder = copied(whole, tmp_path)
    segments(folder)[1].unlink()
    (folder / "META").unlink()
    repair(folder)
    with pytest.raises(CorruptionError, match="missing"):
        aresbus.open(folder)
    with aresbus.open(folder, recover="accept_loss") as log:
        assert log.recovery["loss"]["last_seq"] == COUNT - 1


def test_what_is_refused(whole, tmp_path):
    folder = copied(whole, tmp_path)
    with aresbus.open(folder), pytest.raises(LogLockedError):
        repair(folder)
    with pytest.raises(FileNotFoundError):
        repair(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    fill(tmp_path / "other", 10)
    shutil.copy(segments(tmp_path / "other")[0], folder / "segments" / f"{40:016}.log")
    (folder / "META").unlink()
    with pytest.raises(CorruptionError, match="more than one log"):
        repair(folder)


def test_by_the_command_line(whole, tmp_path, capsys):
    from aresbus.cli import main

    folder = copied(whole, tmp_path)
    assert main(["repair", str(folder)]) == 0
    assert "META serves" in capsys.readouterr().out
    (folder / "META").unlink()
    assert main(["repair", str(folder)]) == 0
    assert "rebuilt" in capsys.readouterr().out
    assert main(["verify", str(folder)]) == 0
