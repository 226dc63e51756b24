"""Backups and restores killed before every change they make, and what a loss of power would leave of each at any moment."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import aresbus
import pytest
from aresbus import BackupError, RetentionPolicy, restore, salvage, verify_backup
from aresbus.backups.manifest import MANIFEST, OBJECTS, Manifest, load
from faults import Faults, with_faults
from rescue_support import in_memory, snapshot_of
from survivors import Disk, Node
from test_retention import filled, opened, sealed

EARLIER_LAST, LAST = 219, 299
Make = Callable[[Path, Path], object]


class Lived:
    """A log that has forgotten its front, with raw and sealed segments, and a backup of it from when it was shorter."""

    def __init__(self, folder: Path) -> None:
        self.log, self.earlier = folder / "log", folder / "earlier"

    def live(self) -> None:
        with opened(self.log) as log:
            filled(log, EARLIER_LAST + 1)
            sealed(log)
            log.apply_retention(log.retention_plan(RetentionPolicy(max_events=150)))
            log.backup(self.earlier)
        with opened(self.log, sealing="off") as log:
            filled(log, LAST - EARLIER_LAST)

    def back_up(self, target: Path) -> None:
        with aresbus.open(self.log, mode="r", audit=False) as log:
            log.backup(target)


def names_in(manifest: Manifest) -> set[str]:
    return {one.blake3 for one in manifest.members}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with in_memory() as folder:
        Lived(folder).live()
        yield folder


def ended_everywhere(
    faults: Faults,
    act: Callable[[Path], object],
    begin: Callable[[Path], Path],
    judge: Callable[[Path], None],
) -> None:
    """Kill it before each change it makes below a place, often again in the next attempt, and judge what is left each time."""
    with in_memory() as root:

        def act_here(place: Path) -> None:
            tempfile.tempdir = str(root)  # in the child alone: what it leaves there goes with the rest
            act(place)

        for at in itertools.count():
            place = begin(root / str(at))
            was_killed = faults.killed_at(at, place, lambda place=place: act_here(place))
            if at % 3 == 0:
                faults.killed_at(7 * at % 60, place, lambda place=place: act_here(place))
            judge(place)
            shutil.rmtree(place)
            if not was_killed:
                break
    assert at > 50, "it makes hardly any changes"


def check_killed_backups(faults: Faults, folder: Path, *, has_earlier: bool) -> None:
    lived = Lived(folder)
    source, earlier = snapshot_of(lived.log), (lived.earlier / MANIFEST).read_bytes()

    def begin(place: Path) -> Path:
        if has_earlier:
            shutil.copytree(lived.earlier, place)
        return place

    def judge(place: Path) -> None:
        assert snapshot_of(lived.log) == source, "a backup changed its log"
        if (place / MANIFEST).exists():
            assert verify_backup(place) == [], "a backup counts that is not whole"
            assert load(place).last_seq == (
                LAST if (place / MANIFEST).read_bytes() != earlier else EARLIER_LAST
            )
        else:
            assert not has_earlier, "the earlier backup is gone"
            with pytest.raises(BackupError, match="no whole backup"):
                restore(place, place / "again")
        lived.back_up(place)
        assert {one.name for one in place.iterdir()} == {MANIFEST, OBJECTS, "LOCK"}
        assert {one.name for one in (place / OBJECTS).iterdir()} == names_in(load(place))

    ended_everywhere(faults, lived.back_up, begin, judge)


def check_killed_restores(faults: Faults, folder: Path) -> None:
    backup = Lived(folder).earlier
    source = snapshot_of(backup)
    with aresbus.open(folder / "log", mode="r", audit=False) as log:
        events = [event.to_dict() for event in log.read(up_to=EARLIER_LAST)]

    def begin(place: Path) -> Path:
        place.mkdir()
        return place

    def again(place: Path) -> None:
        with suppress(BackupError):
            restore(backup, place / "log")

    def judge(place: Path) -> None:
        assert snapshot_of(backup) == source, "a restore changed its backup"
        assert all(one.name == "log" or one.suffix == ".unfinished" for one in place.iterdir())
        if (place / "log").exists():
            with pytest.raises(BackupError, match="no empty folder"):
                restore(backup, place / "log")
        else:
            restore(backup, place / "log")
        assert aresbus.verify(place / "log")["findings"] == [], "what was restored is not whole"
        with aresbus.open(place / "log", mode="r", audit=False) as log:
            assert [event.to_dict() for event in log.read()] == events, "what was restored is another log"

    ended_everywhere(faults, again, begin, judge)


def check_order_of_backups(faults: Faults, folder: Path, root: Path) -> None:
    """Whichever manifest a loss of power leaves, all that it names is there."""
    lived = Lived(folder)
    shutil.copytree(lived.earlier, root / "again")
    for place in (root / "not/there/yet", root / "again"):
        disk = Disk(root)
        first = disk.node(place / MANIFEST)
        named = names_in(load(place)) if first else set()
        with faults.recorded(root) as changes:
            lived.back_up(place)
        for change in changes:
            disk.change(*change)
            backup = disk.node(place) or Node()
            for node in filter(None, (backup.certain.get(MANIFEST), backup.seen.get(MANIFEST))):
                assert not node.is_written, "a manifest counts before it is on the disk"
                for name in named if node is first else names_in(load(place)):
                    assert disk.is_certain(place / OBJECTS / name, inside=place), (
                        "a manifest names what may not be on the disk"
                    )
        assert disk.node(place / MANIFEST) is not first
        assert disk.is_certain(place / MANIFEST), "a backup is told that may not be on the disk"


def check_order_of_a_restore(faults: Faults, source: Path, root: Path, make: Make = restore) -> None:
    """The log stands at its place with all its files on the disk, or not at all."""
    disk, place = Disk(root), root / "not/there/log"
    with faults.recorded(root) as changes:
        make(source, place)
    files = [one for one in place.rglob("*") if one.is_file() and one.name != "LOCK"]
    for change in changes:
        disk.change(*change)
        if disk.node(place):
            unsure = [one for one in files if not disk.is_certain(one, inside=place)]
            assert not unsure, "a log stands at its place that may not be on the disk"
    assert len(files) > 5
    assert all(map(disk.is_certain, files)), "a log is told that may not be on the disk"


@pytest.mark.parametrize("has_earlier", [False, True])
@with_faults
def test_a_backup_killed_before_any_change_counts_whole_or_not_at_all(faults, folder, has_earlier):
    check_killed_backups(faults, folder, has_earlier=has_earlier)


@with_faults
def test_a_restore_killed_before_any_change_stands_whole_or_not_at_all(faults, folder):
    check_killed_restores(faults, folder)


@with_faults
def test_a_manifest_comes_behind_all_that_it_names(faults, folder, tmp_path):
    check_order_of_backups(faults, folder, tmp_path)


@pytest.mark.parametrize("how", ["restored", "salvaged"])
@with_faults
def test_a_log_made_of_another_comes_behind_all_its_files(faults, folder, tmp_path, how):
    source, make = {"restored": (Lived(folder).earlier, restore), "salvaged": (Lived(folder).log, salvage)}[
        how
    ]
    check_order_of_a_restore(faults, source, tmp_path, make)
