"""Backups: a log's durable state in a folder of its own, made while the writer is at work, and logs made from it.

One module a step: ``manifest`` says what a backup holds, ``parts`` finds what belongs to a log, ``making`` takes it in,
``checking`` proves that it is whole, ``restoring`` makes a log of it. Knows a log by its files and the engine alone.
"""

from aresbus.backups.checking import is_backup, verify_backup
from aresbus.backups.making import BackupReport, back_up
from aresbus.backups.restoring import RestoreReport, restore

__all__ = ["BackupReport", "RestoreReport", "back_up", "is_backup", "restore", "verify_backup"]
