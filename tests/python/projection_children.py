"""Children that keep a projection up to date until they are killed. Owns no claim.

Run as: python projection_children.py random|stepwise LOG-FOLDER DATABASE. "random" appends and updates for ever, and
prints a line after each update. "stepwise" forks one child after the other, each killed at the next statement of SQL
that it executes, prints what is in the database after each, and ends when one came through.
"""

import itertools
import json
import os
import signal
import sqlite3
import sys

import aresbus
from aresbus import Projection, SqliteProjectionStore

BATCH = 300
NEVER = 1_000_000
STEP = 2
"""Events that a child of "stepwise" appends where all before are applied: the more, the more statements."""


def run_for_ever(folder: str, database: str) -> None:
    """Append and update."""
    projection = make_projection(database)
    with aresbus.open(folder, durability="none") as log:
        while True:
            log.append_many([("order_filled", {"quantity": n}) for n in range(BATCH)])
            projection.update(log)
            print(log.last_seq, flush=True)


def run_stepwise(folder: str, database: str) -> None:
    """A child per statement, after one that comes through."""
    for killed_at in itertools.chain([NEVER], itertools.count()):
        child = os.fork()
        if child == 0:
            run_until(folder, database, killed_at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps(found(database)), flush=True)
        if not os.WIFSIGNALED(status) and killed_at != NEVER:
            sys.exit(os.WEXITSTATUS(status))


def run_until(folder: str, database: str, killed_at: int) -> None:
    """Append where nothing waits, and update; dead before the statement of that number."""
    before = found(database)
    projection = make_projection(database)
    executed = iter(range(killed_at))

    def on_statement(_: str) -> None:
        if next(executed, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    projection.store._opened().set_trace_callback(on_statement)
    with aresbus.open(folder, audit=False) as log:
        if log.last_seq is None or (before is not None and before[2] == log.last_seq):
            log.append_many([("order_filled", {"quantity": n}) for n in range(STEP)])
        projection.update(log)


def found(database: str) -> list:
    """The events seen, the total, and the position that is stored; None before there are tables."""
    db = sqlite3.connect(database)
    try:
        seen = [seq for (seq,) in db.execute("SELECT seq FROM seen ORDER BY rowid")]
        ((total,),) = db.execute("SELECT quantity FROM total").fetchall()
        ((position,),) = db.execute("SELECT seq FROM aresbus_projection").fetchall()
    except sqlite3.OperationalError:
        return None
    finally:
        db.close()
    return [seen, total, position]


def make_projection(database: str) -> "Projection[sqlite3.Connection]":
    """Each event is a row, and adds to a total that no constraint protects."""
    return Projection("totals", SqliteProjectionStore(database), {"order_filled": on_fill}, initial=create)


def create(db) -> None:
    """Two tables, so that half a change would show."""
    db.execute("CREATE TABLE seen (seq INTEGER)")
    db.execute("CREATE TABLE total (quantity INTEGER)")
    db.execute("INSERT INTO total VALUES (0)")


def on_fill(db, event) -> None:
    """One change in each table."""
    db.execute("INSERT INTO seen VALUES (?)", (event.seq,))
    db.execute("UPDATE total SET quantity = quantity + ?", (event.data["quantity"],))


if __name__ == "__main__":
    run = {"random": run_for_ever, "stepwise": run_stepwise}[sys.argv[1]]
    run(*sys.argv[2:])
