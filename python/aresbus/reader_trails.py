"""The audit trails of processes that only read a log: a folder each beside the writer's trail, ``audit/<uuid>/``.

Owns which of them belongs to this process, which there are, and what becomes of the intents of readers that died. What
a trail records is audit's business. Invariants: a process has one trail per log, shared by all its threads; a forked
child begins its own; a trail whose process lives is left alone, a damaged one keeps nobody from writing the log.
"""

import logging
import os
import re
import threading
import uuid
import weakref
from pathlib import Path

from aresbus import _core
from aresbus.audit import FOLDER, AuditTrail, open_intents
from aresbus.errors import LogLockedError, StorageError

__all__ = ["close_abandoned", "reader_trail", "trails_of"]

logger: logging.Logger = logging.getLogger(__name__)

NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _Process:
    """What this process calls itself, and its open trails by path of their log."""

    def __init__(self) -> None:
        self.name = str(uuid.uuid4())
        self.opening = threading.Lock()
        self.trails: weakref.WeakValueDictionary[str, AuditTrail] = weakref.WeakValueDictionary()


_process = _Process()


def _begin_anew() -> None:
    global _process  # noqa: PLW0603 - a forked child is another process, and its parent's lock may be held for ever
    _process = _Process()


os.register_at_fork(after_in_child=_begin_anew)


def reader_trail(log: _core.Log, *, force_filesystem: bool = False) -> AuditTrail:
    """This process's own trail on a log that it only reads, in ``audit/<process uuid>/``, made at the first call.

    All who ask share it, so nobody closes it: it closes when the last lets go. Any thread. Raises ValueError for a log
    in memory; else what opening a log for writing raises, such as StorageError where this process may not write: what
    cannot be recorded is not to be done.
    """
    if log.path is None:
        raise ValueError("a log in memory has no audit trail: there is no folder for one")
    process, path = _process, os.path.realpath(log.path)
    with process.opening:
        trail = process.trails.get(path)
        if trail is None:
            trail = AuditTrail(path, reader=process.name, force_filesystem=force_filesystem)
            process.trails[path] = trail
        return trail


def trails_of(log_path: str | os.PathLike[str]) -> list[Path]:
    """The folders of a log's trails: the writers' own, where there is one, then the readers' by name."""
    folder = Path(log_path) / FOLDER
    try:
        with os.scandir(folder) as found:
            inside = sorted(found, key=lambda one: one.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    readers = [Path(one) for one in inside if NAME.fullmatch(one.name) and one.is_dir(follow_symlinks=False)]
    return [folder, *readers] if len(inside) > len(readers) else readers


def close_abandoned(log_path: str, *, force_filesystem: bool = False) -> None:
    """Close the intents of readers that died, as interrupted. About 0.3 ms for each reader's trail there is."""
    for folder in trails_of(log_path):
        if not NAME.fullmatch(folder.name):
            continue
        try:
            with _core.Log(folder, mode="r", force_filesystem=force_filesystem) as trail:
                is_open = bool(open_intents(trail))
            if is_open:
                AuditTrail(log_path, reader=folder.name, force_filesystem=force_filesystem).close()
        except (LogLockedError, FileNotFoundError):
            continue  # its process lives, or died before it had a trail
        except (StorageError, OSError) as error:
            logger.warning("the trail of a reader is passed over: %s", error)
