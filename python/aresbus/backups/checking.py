"""Whether a backup is whole: the sum of every file, and the log within as the engine verifies it.

Owns the findings. Changes nothing, and writes nothing into the backup: the engine looks at a folder of links elsewhere.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aresbus import _core
from aresbus.backups.manifest import MANIFEST, Manifest, load, object_path
from aresbus.errors import CorruptionError
from aresbus.reports import Finding

__all__ = ["findings_in", "is_backup", "log_folders", "refuse_damage", "seen_as_log", "verify_backup"]


def is_backup(path: str | os.PathLike[str]) -> bool:
    """Whether the folder holds a whole backup, as far as its manifest says."""
    return (Path(path) / MANIFEST).is_file()


def verify_backup(path: str | os.PathLike[str]) -> list[Finding]:
    """Check the sum of every file of a backup, and every checksum, position and chain of the log within; what is wrong.

    Reads all of it, changes nothing. Raises BackupError where there is no whole backup, CorruptionError for a damaged
    manifest, StorageError. Any thread.
    """
    backup = Path(path)
    return findings_in(backup, load(backup))


def findings_in(backup: Path, manifest: Manifest) -> list[Finding]:
    """As :func:`verify_backup`, of what ``manifest`` names."""
    findings = []
    for member in manifest.members:
        content = object_path(backup, member)
        if not content.is_file():
            findings.append(_finding("missing file", content, f"the content of {member.path} is gone"))
        elif _core.digest(content) != member.blake3:
            findings.append(_finding("sum", content, f"{member.path} is not what was taken"))
    if not findings:
        with seen_as_log(backup, manifest) as view:
            findings = findings_of_log(view, manifest)
    return findings


def refuse_damage(backup: Path, manifest: Manifest) -> None:
    """Raises CorruptionError, which names the first of several, unless what ``manifest`` names is whole."""
    errors = [one for one in findings_in(backup, manifest) if one["severity"] == "error"]
    if errors:
        first = errors[0]
        raise CorruptionError(
            f"what was to be backed up is damaged: {first['message']} ({len(errors)} findings)",
            path=first["path"],
            offset=first["offset"],
            reason=first["message"],
        )


def findings_of_log(path: Path, manifest: Manifest) -> list[Finding]:
    """What the engine says of a log, and of the logs within it, that holds the files of ``manifest``."""
    found = []
    for folder in log_folders(manifest):
        inner = [one for one in log_folders(manifest) if one != folder and one.is_relative_to(folder)]
        # The trails of readers lie within that of the writers.
        known = {path / name for name in inner}
        findings = _core.verify(path / folder)["findings"]
        found += [one for one in findings if one["kind"] != "stray file" or Path(one["path"]) not in known]
    return found


def log_folders(manifest: Manifest) -> list[Path]:
    """The folders of the log and of those within it, relative to its own."""
    return [Path(one.path).parent for one in manifest.members if Path(one.path).name == "META"]


@contextmanager
def seen_as_log(backup: Path, manifest: Manifest) -> Iterator[Path]:
    """A folder that looks like the log, by links into the backup; for reading alone."""
    import tempfile  # noqa: PLC0415 - it costs every start of Python that asks for no backup

    view = Path(tempfile.mkdtemp(prefix="aresbus-backup-"))
    try:
        for member in manifest.members:
            place = view / member.path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.symlink_to(object_path(backup, member).resolve())
        yield view
    finally:
        shutil.rmtree(view, ignore_errors=True)


def _finding(kind: str, path: Path, message: str) -> Finding:
    return {
        "severity": "error",
        "kind": kind,
        "path": str(path),
        "offset": 0,
        "first_seq": None,
        "last_seq": None,
        "message": message,
    }
