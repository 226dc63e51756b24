"""Making a log of a backup: all of it, or up to a position or a time.

Owns where the restored log ends, and that it stands whole, verified and durable at its place, or not at all. Invariant: the
backup is only read. Whoever writes the restored log begins a new epoch, so that nobody takes its events for those that
came behind its end in the log that was.
"""

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aresbus import _core, durable_files
from aresbus.audit import AuditTrail
from aresbus.backups.checking import findings_of_log, seen_as_log
from aresbus.backups.manifest import Manifest, Member, load, object_path
from aresbus.backups.parts import INDEX
from aresbus.errors import BackupError, CorruptionError
from aresbus.events import ns_of_datetime

__all__ = ["RestoreReport", "restore"]


@dataclass(slots=True)
class RestoreReport:
    """The log that was restored."""

    path: str
    log_id: str
    first_seq: int
    last_seq: int | None
    """Where it ends: at what was asked for, or before the batch which that would have torn."""
    left_out: int
    """Events of the backup behind that."""
    files: int
    bytes: int


def restore(
    backup: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    to_seq: int | None = None,
    to_time: datetime | int | None = None,
) -> RestoreReport:
    """Make a log of the backup in the new or empty folder ``target``.

    ``to_seq``: up to this position, inclusive; ``to_time``: without the first event that was appended after this moment (an
    aware datetime, or ns since 1970), and all behind it; neither: all there is. A batch stays whole or goes. Subscriptions,
    snapshots and audit trails come as they were taken: a checkpoint or a snapshot of an event that is not in the log is not
    believed, and subscribers are told Rewound. The audit trail of the log has the act ``log.restore``.

    Every file is compared with its sum, and the log verified, before it stands at its place; durable on return. Blocks, any
    thread. Raises BackupError where there is no whole backup, ``target`` is no empty folder, or the backup does not reach that
    far; CorruptionError for a damaged one; TruncatedError where it begins later; ValueError for a naive datetime, or both
    limits; StorageError, DiskFullError, OSError.
    """
    import tempfile  # noqa: PLC0415 - as in checking

    if to_seq is not None and to_time is not None:
        raise ValueError("a log is restored to a position or to a time, not to both")
    source, place = Path(backup), Path(target).resolve()
    manifest = load(source)
    _refuse_full(place)
    durable_files.make_folder(place.parent)
    aside = Path(tempfile.mkdtemp(prefix=f"{place.name}.", suffix=".unfinished", dir=place.parent))
    try:
        with seen_as_log(source, manifest) as view:
            up_to = _end(view, manifest, to_seq, to_time)
            last_seq = _make(source, manifest, view, aside, up_to)
        report = _report(place, aside, manifest, last_seq)
        _record(
            aside, source, report, {"to_seq": to_seq, "to_time": None if to_time is None else str(to_time)}
        )
        for folder in (*(one for one in aside.rglob("*") if one.is_dir()), aside):
            durable_files.sync_folder(folder)
        try:
            aside.rename(place)
        except OSError as error:
            _refuse_full(place)
            raise BackupError(f"{place} cannot be put in its place: {error}", path=str(place)) from error
        durable_files.sync_folder(place.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return report


def _refuse_full(place: Path) -> None:
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise BackupError(f"{place} is there and no empty folder", path=str(place))


def _end(view: Path, manifest: Manifest, to_seq: int | None, to_time: datetime | int | None) -> int | None:
    """The last position to be restored; None for all."""
    if to_seq is not None:
        if manifest.last_seq is None or to_seq > manifest.last_seq:
            end = "no event" if manifest.last_seq is None else f"event {manifest.last_seq}"
            raise BackupError(f"the backup ends with {end}, before event {to_seq}", path=str(to_seq))
        return to_seq
    if to_time is None or manifest.last_seq is None:
        return None
    moment = ns_of_datetime(to_time) if isinstance(to_time, datetime) else to_time
    with _core.Log(view, mode="r", force_filesystem=True) as log:
        later = next(iter(log.read(since=moment + 1, limit=1)), None)
    if later is None or later.seq is None:
        return None
    if later.seq <= manifest.first_seq:
        raise BackupError("the first event of the backup was appended after that moment", path=str(view))
    return later.seq - 1


def _make(source: Path, manifest: Manifest, view: Path, aside: Path, up_to: int | None) -> int | None:
    """Copy what belongs to the log, and cut its events; the newest that is in it."""
    wanted = manifest.members
    last_seq = manifest.last_seq
    if up_to is not None:
        head = _core.excerpt(view, aside, up_to=up_to)
        last_seq = head["next_seq"] - 1 if head["next_seq"] > head["first_seq"] else None
        whole = {
            f"segments/{Path(one).with_suffix(kind).name}"
            for one in head["whole"]
            for kind in (Path(one).suffix, INDEX)
        }
        wanted = tuple(
            one
            for one in manifest.members
            if one.path in whole or (one.path != "META" and not one.path.startswith("segments/"))
        )
    for member in wanted:
        _copy(source, member, aside)
    return last_seq


def _copy(source: Path, member: Member, aside: Path) -> None:
    """A durable copy of a member, compared with its sum."""
    place = aside / member.path
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = object_path(source, member)
    try:
        with content.open("rb") as old, durable_files.create(place) as new:
            shutil.copyfileobj(old, new, 1 << 20)
            new.flush()
            os.fsync(new.fileno())
    except FileNotFoundError:
        raise _damaged(content, f"the content of {member.path} is gone") from None
    if _core.digest(place) != member.blake3:
        raise _damaged(content, f"{member.path} is not what was taken")


def _damaged(path: Path, reason: str) -> CorruptionError:
    return CorruptionError(f"the backup is damaged: {reason}", path=str(path), offset=0, reason=reason)


def _report(place: Path, aside: Path, manifest: Manifest, last_seq: int | None) -> RestoreReport:
    for one in findings_of_log(aside, manifest):
        if one["severity"] == "error":
            raise CorruptionError(
                f"what was restored is damaged: {one['message']}",
                path=one["path"],
                offset=one["offset"],
                reason=one["message"],
            )
    files = [one for one in aside.rglob("*") if one.is_file()]
    end = manifest.first_seq - 1
    return RestoreReport(
        path=str(place),
        log_id=manifest.log_id,
        first_seq=manifest.first_seq,
        last_seq=last_seq,
        left_out=(end if manifest.last_seq is None else manifest.last_seq)
        - (end if last_seq is None else last_seq),
        files=len(files),
        bytes=sum(one.stat().st_size for one in files),
    )


def _record(aside: Path, source: Path, report: RestoreReport, wish: dict[str, int | str | None]) -> None:
    """The restored log's own record of where it comes from."""
    trail = AuditTrail(str(aside), reason="restored from a backup", force_filesystem=True)
    try:
        details = {"backup": str(source.resolve()), **wish}
        with trail.act(
            "log.restore", {key: one for key, one in details.items() if one is not None}
        ) as result:
            result.update(log_id=report.log_id, last_seq=report.last_seq, left_out=report.left_out)
    finally:
        trail.close()
