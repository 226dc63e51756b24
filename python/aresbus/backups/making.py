"""Taking a backup: beside the writer, in its process or another, into a new folder or one that holds an earlier backup.

Owns the order of the steps. Contents are stored by their sum, so what is there already is kept and what an earlier backup
names stays until the new manifest has replaced the old one. Invariants: only durable events are taken; a manifest is put in
place after all that it names is on the disk and, unless told otherwise, verified; a crash before that leaves the earlier backup,
or none.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aresbus import _core, durable_files
from aresbus.backups.checking import refuse_damage
from aresbus.backups.manifest import MANIFEST, OBJECTS, Manifest, Member, load, object_path, store
from aresbus.backups.parts import AFTER, BEFORE, EXPIRED, INDEX, SEALED, Found, files_in, inner_logs, subtrees
from aresbus.errors import BackupError, StorageError
from aresbus.reports import Excerpt

__all__ = ["BackupReport", "back_up"]

WORK = "unfinished"
LOCK = "LOCK"
OURS = frozenset({MANIFEST, f"{MANIFEST}.tmp", OBJECTS, WORK, LOCK})


@dataclass(slots=True)
class BackupReport:
    """What a backup holds now, and how it got there."""

    path: str
    log_id: str = ""
    epoch: int = 0
    first_seq: int = 0
    last_seq: int | None = None
    """Newest event in it; everything newer was not durable yet."""
    files: int = 0
    bytes: int = 0
    """Of all its files."""
    linked: int = 0
    """Files taken by hard link: they share their bytes with the log."""
    copied: int = 0
    kept: int = 0
    """Files whose content an earlier backup had brought."""
    is_verified: bool = False


def back_up(log: _core.Log, target: str | os.PathLike[str], *, verify: bool = True) -> BackupReport:
    """What :meth:`aresbus.Log.backup` does, without a record of it."""
    if log.path is None:
        raise BackupError("a log in memory has no files to back up", path=None)
    source, backup = Path(log.path).resolve(), Path(target).resolve()
    with _locked(source, backup):
        earlier = load(backup) if (backup / MANIFEST).exists() else None
        if earlier is not None and earlier.log_id != log.log_id:
            raise BackupError(f"{backup} holds a backup of another log, {earlier.log_id}", path=str(backup))
        taking = _Taking(source, backup, earlier)
        try:
            manifest = taking.take(log)
            if verify:
                refuse_damage(backup, manifest)
            store(backup, manifest)
        finally:
            shutil.rmtree(backup / WORK, ignore_errors=True)
        taking.forget_all_but(manifest)
    report = taking.report
    report.files, report.bytes = len(manifest.members), sum(one.bytes for one in manifest.members)
    report.is_verified = verify
    return report


@contextmanager
def _locked(source: Path, backup: Path) -> Iterator[None]:
    """The folder, made if need be, for this backup alone. Raises BackupError, OSError."""
    if backup.is_relative_to(source):
        raise BackupError(f"{backup} lies inside the log", path=str(backup))
    if backup.exists() and (not backup.is_dir() or {one.name for one in backup.iterdir()} - OURS):
        raise BackupError(f"{backup} is there and no backup", path=str(backup))
    durable_files.make_folder(backup, 0o700)
    descriptor = os.open(backup / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another backup into {backup} is at work", path=str(backup)) from None
        shutil.rmtree(backup / WORK, ignore_errors=True)
        for folder in (OBJECTS, WORK):
            (backup / folder).mkdir(mode=0o700, exist_ok=True)
        durable_files.sync_folder(backup)
        yield
    finally:
        os.close(descriptor)


class _Taking:
    """One backup while it is taken."""

    def __init__(self, source: Path, backup: Path, earlier: Manifest | None) -> None:
        self._source, self._backup = source, backup
        self._known = {} if earlier is None else {one.path: one for one in earlier.members}
        self._members: list[Member] = []
        self._stages = 0
        self.report = BackupReport(str(backup))

    def take(self, log: _core.Log) -> Manifest:
        """Bring everything into the folder; durable but for the folder's own names."""
        for inner in inner_logs(self._source):
            with suppress(FileNotFoundError):  # it is only being made
                self._take_log(inner, None)
        self._members += self._taken_of(files_in(self._source, BEFORE))
        head = self._take_log(Path(), log if log.mode == "rw" else None)
        self._members += self._taken_of(files_in(self._source, AFTER))
        report = self.report
        report.log_id, report.epoch, report.first_seq = head["log_id"], head["epoch"], head["first_seq"]
        report.last_seq = head["next_seq"] - 1 if head["next_seq"] > head["first_seq"] else None
        return Manifest(
            log_id=report.log_id,
            epoch=report.epoch,
            first_seq=report.first_seq,
            last_seq=report.last_seq,
            made_ns=time.time_ns(),
            members=tuple(sorted(self._members, key=lambda one: one.path)),
        )

    def _take_log(self, folder: Path, log: _core.Log | None) -> Excerpt:
        """The durable beginning of the log in ``folder``, where the whole of it is durable all of it.

        With what stays of the events before it. Where retention passed meanwhile and the one does not fit the other, all is
        taken again: the log begins later now.
        """
        first_seq = -1
        while True:
            self._stages += 1
            stage = self._backup / WORK / str(self._stages)
            head = _core.excerpt(self._source / folder, stage, log=log)
            whole = [
                Found(_name(folder, Path(one).name), Path(one), Path(one).suffix == SEALED)
                for one in head["whole"]
            ]
            taken = [self._taken(one) for one in whole]
            expired = self._taken_of(files_in(self._source, EXPIRED, folder))
            # The heads may know more than META asks for; of the subtrees those of its place are needed.
            needed = subtrees(folder, head["first_seq"])
            fits = head["first_seq"] in {0, first_seq} or any(one.path == needed for one in expired)
            if fits and None not in taken:
                break
            first_seq = head["first_seq"]
        beside = [one.source.with_suffix(INDEX) for one in whole if one.is_final]
        # Caches; without them the restored log would be read once at its first opening.
        found = [Found(_name(folder, one.name), one, is_final=True) for one in beside]
        indexes = [self._taken(one) for one in found]
        self._members += [one for one in (*taken, *expired, *indexes) if one is not None]
        for made in sorted(one for one in stage.rglob("*") if one.is_file()):
            inside = made.relative_to(stage)
            self._members.append(self._moved(made, (folder / inside).as_posix()))
        return head

    def _taken_of(self, listed: list[Found]) -> list[Member]:
        """Those that are still there."""
        return [one for one in map(self._taken, listed) if one is not None]

    def _taken(self, found: Found) -> Member | None:
        """The file as a member of the backup; None where it is gone."""
        try:
            return self._brought(found)
        except FileNotFoundError:
            sealed = found.source.with_suffix(SEALED)
            if found.source.suffix != ".log" or not sealed.exists():
                return None
            path = found.path.removesuffix(".log") + SEALED
            return self._taken(Found(path, sealed, is_final=True))

    def _brought(self, found: Found) -> Member:
        facts = found.source.stat()
        known = self._known.get(found.path)
        is_same = known is not None and (known.bytes, known.mtime_ns) == (facts.st_size, facts.st_mtime_ns)
        if known is not None and found.is_final and is_same and self._holds(known):
            self.report.kept += 1
            return known
        aside = self._backup / WORK / "next"
        is_linked = found.is_final and _link(found.source, aside)
        if not is_linked:
            _copy(found.source, aside)
        return self._moved(aside, found.path, mtime_ns=facts.st_mtime_ns, is_linked=is_linked)

    def _moved(self, aside: Path, path: str, *, mtime_ns: int = 0, is_linked: bool = False) -> Member:
        """Give a file of ours, durable, its place among the contents."""
        member = Member(path, aside.stat().st_size, _core.digest(aside), mtime_ns)
        if self._holds(member):
            aside.unlink()
            self.report.kept += 1
        else:
            aside.replace(object_path(self._backup, member))
            self.report.linked += is_linked
            self.report.copied += not is_linked
        return member

    def _holds(self, member: Member) -> bool:
        """Whether the content is there; what it is worth is verified at the end."""
        try:
            return object_path(self._backup, member).stat().st_size == member.bytes
        except FileNotFoundError:
            return False

    def forget_all_but(self, manifest: Manifest) -> None:
        """Remove contents that no manifest names any more. What is left behind by a crash goes next time."""
        named = {one.blake3 for one in manifest.members}
        for one in (self._backup / OBJECTS).iterdir():
            if one.name not in named:
                one.unlink(missing_ok=True)


def _name(folder: Path, name: str) -> str:
    return (folder / "segments" / name).as_posix()


def _link(source: Path, aside: Path) -> bool:
    """Another name for the file, where the file system has such names."""
    aside.unlink(missing_ok=True)
    try:
        os.link(source, aside)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _copy(source: Path, aside: Path) -> None:
    """A durable copy. Raises FileNotFoundError, StorageError."""
    try:
        shutil.copyfile(source, aside)
        aside.chmod(0o600)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(
            f"cannot copy {source} to {aside.parent}: {error}", path=str(source), errno=error.errno
        ) from error
