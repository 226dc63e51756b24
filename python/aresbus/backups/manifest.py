"""The manifest of a backup: which files it holds, under which sums, and where the log in it ends.

Owns its form and its own sum. Knows no log. Invariants: it is put in its place whole, by one rename, after all that it
names is on the disk; a folder without one is no backup.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from aresbus import _core, durable_files
from aresbus.errors import BackupError, CorruptionError

__all__ = ["MANIFEST", "OBJECTS", "Manifest", "Member", "load", "object_path", "store"]

MANIFEST = "MANIFEST.json"
OBJECTS = "objects"
FORMAT = 1
MOST_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the log: its path there, and its content."""

    path: str
    """Relative to the log's folder, with slashes."""
    bytes: int
    blake3: str
    mtime_ns: int
    """Of the file it was taken from."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds."""

    log_id: str
    epoch: int
    """The newest epoch of the log when it was taken."""
    first_seq: int
    last_seq: int | None
    made_ns: int
    members: tuple[Member, ...]


def object_path(backup: Path, member: Member) -> Path:
    """Where the content of a member lies: named by its sum, so equal files are one."""
    return backup / OBJECTS / member.blake3


def store(backup: Path, manifest: Manifest) -> None:
    """Put the manifest in its place; durable on return. Raises OSError."""
    body = {"format": FORMAT, **asdict(manifest)}
    content = orjson.dumps({"blake3": _sum_of(body), "backup": body}, option=orjson.OPT_INDENT_2)
    aside = backup / f"{MANIFEST}.tmp"
    aside.unlink(missing_ok=True)
    durable_files.write(aside, content + b"\n")
    durable_files.sync_folder(backup / OBJECTS)
    aside.replace(backup / MANIFEST)
    durable_files.sync_folder(backup)


def load(backup: str | os.PathLike[str]) -> Manifest:
    """The manifest of the backup in the folder. Raises BackupError without one, CorruptionError for a damaged one, OSError."""
    path = Path(backup) / MANIFEST
    try:
        content = durable_files.read_at_most(path, MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise BackupError(
            f"{os.fspath(backup)} holds no whole backup: there is no {MANIFEST}", path=str(path)
        ) from None
    try:
        document = orjson.loads(content)
        body = document["backup"]
        is_whole = _sum_of(body) == document["blake3"]
        if is_whole and body["format"] != FORMAT:
            raise BackupError(
                f"{path} is of format {body['format']}, this build reads {FORMAT}", path=str(path)
            )
        manifest = _parsed(body) if is_whole else None
    except (ValueError, KeyError, TypeError):
        manifest = None
    if manifest is None:
        raise CorruptionError(
            f"{path} is damaged", path=str(path), offset=0, reason="the manifest is not what was written"
        )
    return manifest


def _parsed(body: dict[str, Any]) -> Manifest:
    fields = {name: value for name, value in body.items() if name not in {"format", "members"}}
    return Manifest(**fields, members=tuple(Member(**one) for one in body["members"]))


def _sum_of(body: dict[str, Any]) -> str:
    """The sum of the manifest's body, in the one form that it is summed in."""
    return _core.digest_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
