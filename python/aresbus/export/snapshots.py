"""The snapshots that go with exported events: the newest usable one of each of their aggregates, under numbered names.

Owns which snapshots those are and how they are written. Knows neither lines nor tables. Invariant: a snapshot is exported
only together with the event that it was taken after.
"""

import dataclasses
from collections.abc import Callable, Iterable

import orjson

from aresbus import snapshot_record
from aresbus._core import Event, Log
from aresbus.export.folder import ExportFolder
from aresbus.export.jsonl import number_of
from aresbus.legacy.layout import SNAPSHOTS
from aresbus.snapshot_record import StoredSnapshot

__all__ = ["export_snapshots"]


def export_snapshots(
    log: Log, folder: ExportFolder, aggregates: Iterable[str], exported: Callable[[int], Event | None]
) -> int:
    """Write one file per aggregate that has a snapshot; ``exported`` gives the event at a position if it was written.

    Gives how many were written. The names say nothing; the manifest says which aggregate each is of.
    """
    count = 0
    folder.make_folder(SNAPSHOTS)
    for aggregate_id in aggregates:

        def is_exported(stored: StoredSnapshot) -> bool:
            return exported(stored.snapshot.sequence_number) is not None

        stored = snapshot_record.newest_usable(log, aggregate_id, accepts=is_exported).stored
        event = None if stored is None else exported(stored.snapshot.sequence_number)
        if stored is None or event is None:
            continue
        snapshot = dataclasses.replace(stored.snapshot, sequence_number=number_of(event))
        name = f"{SNAPSHOTS}/snapshot_{count:06}.json"
        file = folder.create(name)
        file.write(orjson.dumps(snapshot.to_dict(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        file.close()
        folder.seal(
            name,
            aggregate_id=aggregate_id,
            sequence_number=snapshot.sequence_number,
            kind=stored.kind,
            reducers=stored.reducers,
        )
        count += 1
    return count
