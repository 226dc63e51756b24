"""What belongs to a log besides its events: logs within it, and files that are replaced and never changed.

Owns the list of them and the order in which they are taken. Invariants: what points at events is taken before the events,
so that it points at some that are there; what says how events are read, what became of dropped ones, or which must not be
dropped, after them.
"""

import os
from pathlib import Path
from typing import NamedTuple

from aresbus.reader_trails import trails_of

__all__ = ["AFTER", "BEFORE", "EXPIRED", "INDEX", "SEALED", "Found", "files_in", "inner_logs", "subtrees"]

BEFORE = ("snapshots",)
SUBSCRIPTIONS = "subscriptions"
"""Each folder in it is a log."""
EXPIRED = ("heads", "footers")
"""What stays of events that were dropped; each log has its own, also one within another."""
AFTER = ("schemas", "holds")
LOCK = "LOCK"
UNFINISHED = ".tmp"
SEALED, INDEX = ".seg", ".idx"


class Found(NamedTuple):
    """A file of a log: its path there with slashes, where it lies, and whether its content can never change."""

    path: str
    source: Path
    is_final: bool


def files_in(log_path: Path, folders: tuple[str, ...], inside: Path = Path()) -> list[Found]:
    """The files of these folders of the log, or of the one ``inside`` it; each was written aside and renamed, so a name stands for one content."""
    found = []
    for folder in folders:
        try:
            names = sorted(os.listdir(log_path / inside / folder))  # noqa: PTH208 - names, not paths
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            source = log_path / inside / folder / name
            is_ours = name.isascii() and name.isprintable() and name != LOCK
            if is_ours and not name.endswith(UNFINISHED) and source.is_file():
                found.append(Found((inside / folder / name).as_posix(), source, is_final=True))
    return found


def subtrees(inside: Path, first_seq: int) -> str:
    """The file with what evidence needs of the events before ``first_seq``, which every pass of retention leaves."""
    return (inside / "footers" / f"{first_seq:016}.tree").as_posix()


def inner_logs(log_path: Path) -> list[Path]:
    """The folders, relative to the log's, of the logs within it: subscriptions, audit trails."""
    inner = [*sorted((log_path / SUBSCRIPTIONS).glob("*")), *trails_of(log_path)]
    return [one.relative_to(log_path) for one in inner if (one / "META").exists()]
