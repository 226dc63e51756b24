"""The older layout: folders and file names, and the tags under which its facts live on in a log.

Owns names alone; opens nothing. Invariants: files are taken in the order of their dates; a tag named here is written by
import and export, never by a user.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from aresbus.errors import LegacyLayoutError

__all__ = ["event_files", "events_folder", "is_packed", "number_in", "snapshot_files"]

EVENTS, SNAPSHOTS, MANIFEST = "events", "snapshots", "manifest.json"
EVENT_FILE = re.compile(r"events_\d{4}-\d{2}-\d{2}\.jsonl(?:\.zst)?")
PACKED = ".zst"

ORIGIN_TAG = "aresbus:legacy"
"""On an imported event: the line it came from, ``FILE:LINE:OFFSET``."""
NUMBER_TAG = "aresbus:legacy_sequence"
"""On an imported event: the sequence number it had, where that is not its position in the log."""
NUMBER = re.compile(r"-?[0-9]{1,18}")
"""A sequence number as it stands in its tag; longer ones are none."""
TIME_TAG = "aresbus:event_time_ns"
"""In an exported event: its time to the nanosecond, where the timestamp beside it cannot hold it."""


def events_folder(source: Path) -> Path:
    """The folder of the event files. Raises LegacyLayoutError where ``source`` is no older event store."""
    folder = source / EVENTS
    if not folder.is_dir():
        raise LegacyLayoutError(
            f"{source} is no older event store: it has no folder {EVENTS}/", path=str(source)
        )
    return folder


def event_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The event files in the order of their dates, and what else lies in the folder."""
    files: list[Path] = []
    strays: list[Path] = []
    for path in sorted(folder.iterdir()):
        (files if EVENT_FILE.fullmatch(path.name) and path.is_file() else strays).append(path)
    return files, strays


def snapshot_files(source: Path) -> list[Path]:
    """The snapshot files, in the order of their names. The log's own snapshots may lie beside them."""
    return sorted((source / SNAPSHOTS).glob("snapshot_*.json"))


def number_in(tags: Mapping[str, str]) -> int | None:
    """The sequence number that an imported event came with; None where it was its position, or nothing says."""
    text = tags.get(NUMBER_TAG, "")
    return int(text) if NUMBER.fullmatch(text) else None


def is_packed(path: Path) -> bool:
    """Whether the file is packed with zstd."""
    return path.suffix == PACKED
