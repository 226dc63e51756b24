"""Repair: META made anew from the segments, on record.

Owns the record of it. What is derived is the engine's. Invariant: a META that serves is left alone.
"""

import os

from aresbus import _core
from aresbus.audit import AuditTrail
from aresbus.reports import RepairReport

__all__ = ["repair"]


def repair(path: str | os.PathLike[str], *, reason: str = "", audit: bool = True) -> RepairReport:
    """Rebuild the META of the log at ``path`` from its segments, where it is lost, damaged in both copies, or older than they are.

    Where META serves nothing is changed and ``damage`` is None. What was there before goes to quarantine. What segments do
    not say, such as whether older events were dropped or lost, is named in ``derived``. Damage elsewhere stays: opening
    the log tells of it. Recorded as the act ``log.repair`` with ``reason``; ``audit=False`` keeps no record, for the
    log of an audit trail itself. Durable on return. Blocks; any thread.

    Raises LogLockedError while a writer has the log, FileNotFoundError where there is none, CorruptionError where no segment
    says which log this is or two disagree, FormatVersionError, DiskFullError, StorageError.
    """
    if not audit:
        return _core.repair(path)
    if not os.path.isdir(os.path.join(os.fspath(path), "segments")):  # noqa: PTH112, PTH118 - a path may be any text the OS takes
        return _core.repair(path)  # says what is wrong, before a trail is made where no log is
    trail = AuditTrail(os.fspath(path), reason=reason, force_filesystem=True)
    try:
        with trail.act("log.repair", reason=reason) as result:
            report = _core.repair(path)
            result.update(report)
    finally:
        trail.close()
    return report
