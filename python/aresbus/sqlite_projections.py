"""Projections in an SQLite file: handlers write tables of their own, the position is a row beside them.

Owns the file, its transactions, and that handlers cannot end one. What is in the tables is the user's. Invariants:
the row and the tables change in one transaction; everything in the file belongs to one projection, so that clearing
it leaves nothing over.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path

from aresbus.errors import ProjectionError
from aresbus.projections import ProjectionPosition, ProjectionTransaction

__all__ = ["SqliteProjectionStore"]

TABLE = "aresbus_projection"
CREATE = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    projection TEXT NOT NULL, version INTEGER NOT NULL, log_id TEXT NOT NULL,
    seq INTEGER, epoch INTEGER, event_id TEXT
)"""
READ = f"SELECT projection, version, log_id, seq, epoch, event_id FROM {TABLE}"  # noqa: S608 - a constant
WRITE = f"INSERT OR REPLACE INTO {TABLE} VALUES (1, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant
FORGET = f"DELETE FROM {TABLE}"  # noqa: S608 - a constant
OTHERS = f"""SELECT type, name FROM sqlite_master
    WHERE name != '{TABLE}' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND type IN ('view', 'trigger', 'table')
    ORDER BY type = 'table', sql LIKE 'CREATE VIRTUAL%' DESC"""  # noqa: S608 - a constant


class SqliteProjectionStore:
    """State as tables of an SQLite file; handlers get the :class:`sqlite3.Connection`. One projection per file.

    A handler must not begin, commit or roll back; an attempt raises, `executescript` among them. The file is in WAL
    mode: others may read it meanwhile, see :meth:`reader`. A power loss may take back the newest transactions as a
    whole, position included; they are then made again.

    Thread-safe as far as :class:`aresbus.Projection` uses it. Not to be used across a fork.
    """

    is_durable = True

    def __init__(self, path: str | PathLike[str], *, busy_seconds: float = 5.0) -> None:
        """The file is opened, or created, at the first use. ``busy_seconds``: how long to wait for other writers."""
        self.path: str = fspath(path)
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None
        self._is_guarded = self._was_denied = False

    @contextmanager
    def transaction(self) -> Iterator[ProjectionTransaction[sqlite3.Connection]]:
        """As the protocol says. Raises sqlite3.Error, and ProjectionError where a statement ended the transaction."""
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute(READ).fetchone()
            before = None if row is None else ProjectionPosition(*row)
            transaction = ProjectionTransaction(connection, before, lambda: _drop_others(connection))
            self._is_guarded, self._was_denied = True, False
            yield transaction
            self._is_guarded = False
            _check_open(connection)
            _store(connection, before, transaction.position)
            connection.commit()
        except BaseException as error:
            self._is_guarded = False
            if self._was_denied:
                error.add_note("handlers run inside a transaction and must not end it; executescript() does")
            connection.rollback()
            raise

    def reader(self) -> sqlite3.Connection:
        """A new connection that can only read, for the calling thread; it sees whole transactions. Close it."""
        self._opened()
        return sqlite3.connect(f"{Path(self.path).absolute().as_uri()}?mode=ro", uri=True)

    def close(self) -> None:
        """Close the file. Idempotent; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute(CREATE)
                connection.set_authorizer(self._authorize)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _authorize(self, action: int, *_: str | None) -> int:
        if self._is_guarded and action == sqlite3.SQLITE_TRANSACTION:
            self._was_denied = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


def _check_open(connection: sqlite3.Connection) -> None:
    if not connection.in_transaction:
        raise ProjectionError(
            "a statement of a handler rolled the transaction back, and the handler went on; reset() the projection"
        )


def _store(
    connection: sqlite3.Connection, before: ProjectionPosition | None, after: ProjectionPosition | None
) -> None:
    if after is None:
        connection.execute(FORGET)
    elif after != before:
        row = (after.projection, after.version, after.log_id, after.seq, after.epoch, after.event_id)
        connection.execute(WRITE, row)


def _drop_others(connection: sqlite3.Connection) -> None:
    """Drop everything but the position: what depends on tables first, tables that others are made of last."""
    connection.execute("PRAGMA defer_foreign_keys = ON")
    for kind, name in connection.execute(OTHERS).fetchall():
        quoted = name.replace('"', '""')
        connection.execute(f'DROP {kind.upper()} IF EXISTS "{quoted}"')
