"""The snapshots of the older store: the newest of each aggregate, tied to an event of the log, stored there.

Owns reading their files and storing them. Which event one belongs to is anchors'. Invariants: what is stored says what the
older snapshot said, but for its number; a snapshot whose event cannot be told is named and left out, since the events
themselves give the state again. A rebuild starts from one as the older bus's did; a state that reducers of aresbus folded
is bound to their versions, which our own export lists in its manifest.
"""

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aresbus import snapshot_record
from aresbus._core import Log
from aresbus.events import DEFAULT_VERSION, EventSnapshot
from aresbus.legacy.anchors import SYSTEM, Anchors
from aresbus.legacy.layout import MANIFEST, SNAPSHOTS, snapshot_files
from aresbus.legacy.line import BadLineError, parse_json, parse_time
from aresbus.legacy.report import ImportReport
from aresbus.places import anchor_of, event_at
from aresbus.snapshot_record import GIVEN, METRICS, STATE, StoredSnapshot

__all__ = ["OldSnapshot", "newest_snapshots", "store_snapshots"]

FIELDS = {"snapshot_id", "timestamp", "aggregate_id", "sequence_number", "state_data", "version"}
TEXTS = ("snapshot_id", "timestamp", "aggregate_id")


@dataclass(frozen=True, slots=True)
class OldSnapshot:
    """A snapshot, the name of its file below the source, and what kind of state it is."""

    name: str
    snapshot: EventSnapshot
    kind: str
    reducers: dict[str, int]

    @property
    def age(self) -> tuple[int, datetime]:
        """What makes one newer than another: its number, as the older bus chose."""
        return self.snapshot.sequence_number, self.snapshot.timestamp


def newest_snapshots(source: Path, report: ImportReport) -> list[OldSnapshot]:
    """The newest snapshot of each aggregate."""
    newest: dict[str, OldSnapshot] = {}
    try:
        listed = _listed(source / MANIFEST)
    except (BadLineError, OSError) as error:
        report.find(MANIFEST, None, f"the snapshots are left out, whose kinds it lists: {error}")
        return []
    for path in snapshot_files(source):
        name = f"{SNAPSHOTS}/{path.name}"
        try:
            snapshot = _parse(path.read_bytes())
            kind, reducers = _kind(snapshot.aggregate_id, listed.get(name))
        except (BadLineError, OSError) as error:
            report.find(name, None, str(error))
            continue
        known, found = newest.get(snapshot.aggregate_id), OldSnapshot(name, snapshot, kind, reducers)
        if known is not None:
            report.older_snapshots += 1
        if known is None or known.age < found.age:
            newest[snapshot.aggregate_id] = found
    return list(newest.values())


def store_snapshots(log: Log, newest: list[OldSnapshot], anchors: Anchors, report: ImportReport) -> None:
    """Store each at the position of its event; one that the log has there stays as it is."""
    for old in newest:
        aggregate_id, number = old.snapshot.aggregate_id, old.snapshot.sequence_number
        seq = anchors.of(aggregate_id)
        if seq is None:
            reason = (
                f"no imported event is number {number} of {aggregate_id[:80]!r}: the snapshot is left out"
            )
            report.find(old.name, None, reason)
            continue
        event = event_at(log, seq)
        if event is None:
            report.older_snapshots += 1
            continue
        if any(at == seq for at, _ in log._snapshots(aggregate_id)):  # noqa: SLF001 - made for this
            continue
        stored = StoredSnapshot(
            dataclasses.replace(old.snapshot, sequence_number=seq),
            kind=old.kind,
            reducers=old.reducers,
            aggregate_version=event.aggregate_version,
            schema_version=event.schema_version,
            anchor=anchor_of(event),
        )
        snapshot_record.write(log, stored)
        report.snapshots += 1


def _listed(manifest: Path) -> dict[str, dict[str, Any]]:
    """What the manifest of an export of ours says of each file; nothing where there is none."""
    if not manifest.exists():
        return {}
    value, _, _ = parse_json(manifest.read_bytes())
    files = value.get("files") if isinstance(value, dict) else None
    return (
        {one["name"]: one for one in files if isinstance(one, dict) and isinstance(one.get("name"), str)}
        if isinstance(files, list)
        else {}
    )


def _kind(aggregate_id: str, entry: dict[str, Any] | None) -> tuple[str, dict[str, int]]:
    if entry is None:
        return METRICS if aggregate_id == SYSTEM else GIVEN, {}
    kind, reducers = entry.get("kind"), entry.get("reducers")
    if kind not in {GIVEN, METRICS, STATE} or not isinstance(reducers, dict):
        raise BadLineError(f"the manifest does not say what kind of snapshot it is: {kind!r}")
    return kind, reducers


def _parse(content: bytes) -> EventSnapshot:
    value, _, _ = parse_json(content)
    if not isinstance(value, dict) or not isinstance(value.get("state_data"), dict):
        raise BadLineError("no snapshot: state_data is no object")
    if unknown := value.keys() - FIELDS:
        raise BadLineError(f"no snapshot: it has a field {', '.join(sorted(unknown))[:80]}")
    number: Any = value.get("sequence_number")
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadLineError("no snapshot: sequence_number is no whole number")
    for name in TEXTS:
        if not isinstance(value.get(name), str):
            raise BadLineError(f"no snapshot: {name} is no text")
    return EventSnapshot(
        snapshot_id=value["snapshot_id"],
        timestamp=parse_time(value["timestamp"]),
        aggregate_id=value["aggregate_id"],
        sequence_number=number,
        state_data=value["state_data"],
        version=str(value.get("version") or DEFAULT_VERSION),
    )
