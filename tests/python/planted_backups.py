"""Bugs in taking a backup and in restoring it, to be planted in a process of the suite of their steps.

Owns the bugs, and what that suite must say of each. A bug replaces a part of the package in the process that plants it, and
nowhere else; the product knows nothing of it.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aresbus import durable_files
from aresbus.backups import making, manifest, restoring

UNSURE = "names what may not be on the disk"


@dataclass(frozen=True)
class Bug:
    """How to plant it, which part of the suite is to notice it, and what that says then."""

    plant: Callable[[], None]
    check: str
    found_as: str


def manifest_before_its_contents() -> None:
    """The names of the contents are not synced before the manifest counts."""
    sync = durable_files.sync_folder

    def sync_others(folder: Path) -> None:
        if folder.name != manifest.OBJECTS:
            sync(folder)

    durable_files.sync_folder = sync_others


def contents_not_synced() -> None:
    """What is copied may be in the cache alone."""

    def copy(source: Path, aside: Path) -> None:
        shutil.copyfile(source, aside)

    making._copy = copy


def manifest_written_in_place() -> None:
    """The manifest is written where it counts."""

    def store(backup: Path, taken: manifest.Manifest) -> None:
        aside = backup.parent / "aside"
        for folder in (aside, aside / manifest.OBJECTS):
            folder.mkdir(exist_ok=True)
        manifest.store(aside, taken)
        (backup / manifest.MANIFEST).write_bytes((aside / manifest.MANIFEST).read_bytes())

    making.store = store


def earlier_forgotten_first() -> None:
    """What the earlier backup alone names goes before the new manifest is there."""
    take = making._Taking.take

    def take_and_forget(self: Any, log: Any) -> manifest.Manifest:
        taken = take(self, log)
        self.forget_all_but(taken)
        return taken

    making._Taking.take = take_and_forget


def restored_without_syncs() -> None:
    """The restored log gets its place with names in the cache alone."""
    restoring.durable_files.sync_folder = lambda folder: None


def sums_not_compared() -> None:
    """What is restored is not held against its sum."""

    def copy(source: Path, member: manifest.Member, aside: Path) -> None:
        place = aside / member.path
        place.parent.mkdir(parents=True, exist_ok=True)
        durable_files.write(place, manifest.object_path(source, member).read_bytes())

    restoring._copy = copy


BUGS = {
    "manifest-before-contents": Bug(manifest_before_its_contents, "order of backups", UNSURE),
    "contents-not-synced": Bug(contents_not_synced, "order of backups", UNSURE),
    "manifest-in-place": Bug(
        manifest_written_in_place, "order of backups", "a manifest counts before it is on the disk"
    ),
    "earlier-forgotten-first": Bug(
        earlier_forgotten_first, "killed backups", "a backup counts that is not whole"
    ),
    "restored-without-syncs": Bug(
        restored_without_syncs, "order of a restore", "a log stands at its place that may not be on the disk"
    ),
    "sums-not-compared": Bug(sums_not_compared, "flipped bits", "DID NOT RAISE"),
}
