"""The SQLite store: one transaction for tables and position, whoever is killed, whatever a handler tries."""

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import aresbus
import projection_children
import pytest
from aresbus import Projection, ProjectionError, SqliteProjectionStore


@pytest.fixture
def log(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        yield log


@pytest.fixture
def store(tmp_path):
    store = SqliteProjectionStore(tmp_path / "state.db")
    yield store
    store.close()


def rows(store, question):
    reader = store.reader()
    try:
        return reader.execute(question).fetchall()
    finally:
        reader.close()


def create(db):
    db.execute("CREATE TABLE t (n INTEGER)")


def insert(db, event):
    db.execute("INSERT INTO t VALUES (?)", (event.data,))


def child(tmp_path, how):
    command = [
        sys.executable,
        projection_children.__file__,
        how,
        str(tmp_path / "log"),
        str(tmp_path / "t.db"),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def check(found, events_at_once):
    """Every event up to the position is there once, and none after it."""
    seen, total, position = found
    assert seen == list(range(position + 1))
    assert total == sum(seq % events_at_once for seq in seen)


def test_killed_before_any_statement_it_neither_skips_nor_applies_twice(tmp_path):
    """One process after the other, each killed one statement later than the one before it, the last one not at all."""
    with child(tmp_path, "stepwise") as process:
        lines = process.stdout.read()
    assert process.returncode == 0
    states = [json.loads(line) for line in lines.splitlines()]
    for state in states:
        check(state, projection_children.STEP)
    positions = [position for _, _, position in states]
    assert positions.count(1) > 8  # statements of a transaction that was undone
    assert positions[-1] == 2 * projection_children.STEP - 1


def test_killed_at_any_moment_it_neither_skips_nor_applies_twice(tmp_path):
    """At random moments of appending, applying and committing."""
    pause = random.Random(20_240_229)
    for _ in range(4):
        with child(tmp_path, "random") as process:
            process.stdout.readline()
            time.sleep(pause.uniform(0, 0.15))
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        check(projection_children.found(str(tmp_path / "t.db")), projection_children.BATCH)
    projection = projection_children.make_projection(str(tmp_path / "t.db"))
    with aresbus.open(tmp_path / "log") as log:
        assert projection.update(log).rebuilt is None
        found = rows(projection.store, "SELECT count(*), max(seq) FROM seen")
        assert found == [(log.last_seq + 1, log.last_seq)]
    projection.store.close()


def test_two_runners_on_one_file_share_the_work(tmp_path, log):
    log.append_many([("a", n) for n in range(5_000)])
    stores = [SqliteProjectionStore(tmp_path / "state.db") for _ in range(2)]
    projections = [Projection("p", store, {"a": insert}, initial=create) for store in stores]
    applied = []
    threads = [
        threading.Thread(target=lambda one=one: applied.append(one.update(log).applied))
        for one in projections
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(applied) == 5_000
    assert rows(stores[0], "SELECT n FROM t ORDER BY rowid") == [(n,) for n in range(5_000)]
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "ending",
    [
        lambda db: db.commit(),
        lambda db: db.rollback(),
        lambda db: db.execute("COMMIT"),
        lambda db: db.execute("END TRANSACTION"),
        lambda db: db.execute("ROLLBACK"),
        lambda db: db.executescript("CREATE TABLE more (x)"),
        lambda db: db.__exit__(None, None, None),
    ],
)
def test_a_handler_cannot_end_the_transaction(log, store, ending):
    def meddling(db, event):
        insert(db, event)
        ending(db)

    log.append("a", 1)
    with pytest.raises(ProjectionError) as caught:
        Projection("p", store, {"a": meddling}, initial=create).update(log)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert "must not end it" in caught.value.__notes__[0]
    good = Projection("p", store, {"a": insert}, initial=create)
    assert good.position() is None
    assert good.update(log).applied == 1
    assert rows(store, "SELECT n FROM t") == [(1,)]


def test_a_statement_that_rolls_back_by_itself_is_noticed(log, store):
    def initial(db):
        db.execute("CREATE TABLE t (n INTEGER UNIQUE)")

    def swallowing(db, event):
        with contextlib.suppress(sqlite3.IntegrityError):  # and goes on, outside of any transaction
            db.execute("INSERT OR ROLLBACK INTO t VALUES (1)")

    log.append_many([("a", 1), ("a", 2)])
    with pytest.raises(ProjectionError, match="rolled the transaction back"):
        Projection("p", store, {"a": swallowing}, initial=initial).update(log)


def test_savepoints_are_the_handlers_own(log, store):
    def careful(db, event):
        db.execute("SAVEPOINT mine")
        insert(db, event)
        if event.data % 2:
            db.execute("ROLLBACK TO mine")
        db.execute("RELEASE mine")

    log.append_many([("a", n) for n in range(4)])
    Projection("p", store, {"a": careful}, initial=create).update(log)
    assert rows(store, "SELECT n FROM t") == [(0,), (2,)]


def test_a_reset_drops_everything_that_handlers_made(log, store):
    def initial(db):
        db.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT)")
        db.execute("CREATE TABLE child (parent INTEGER REFERENCES parent (id))")
        db.execute('CREATE TABLE "odd ""name" (x)')
        db.execute("CREATE INDEX by_parent ON child (parent)")
        db.execute("CREATE VIEW v AS SELECT * FROM child")
        db.execute("CREATE TRIGGER g AFTER INSERT ON child BEGIN SELECT 1; END")

    def both(db, event):
        db.execute("INSERT INTO parent VALUES (?)", (event.data,))
        db.execute("INSERT INTO child VALUES (?)", (event.data,))

    log.append_many([("a", 1), ("a", 2)])
    projection = Projection("p", store, {"a": both}, initial=initial)
    projection.update(log)
    with store.transaction() as transaction:
        transaction.state.execute("PRAGMA foreign_keys = ON")
    assert projection.rebuild(log).applied == 2
    assert rows(store, "SELECT id FROM parent") == [(1,), (2,)]
    other = Projection("p", store, {"a": insert}, initial=create, version=2)
    other.update(log)
    left = rows(store, "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
    assert left == [("aresbus_projection",), ("t",)]


def test_readers_see_whole_transactions_and_cannot_write(log, store):
    log.append("a", 1)
    projection = Projection("p", store, {"a": insert}, initial=create)
    projection.update(log)
    seen = []

    def looking(db, event):
        insert(db, event)
        seen.append(rows(store, "SELECT n FROM t"))

    log.append_many([("a", 2), ("a", 3)])
    Projection("p", store, {"a": looking}, initial=create).update(log)
    assert seen == [[(1,)], [(1,)]]
    assert rows(store, "SELECT n FROM t") == [(1,), (2,), (3,)]
    reader = store.reader()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM t")
    reader.close()


def test_the_state_outlives_the_process(log, tmp_path):
    log.append("a", 1)
    for wanted in (1, 0):
        store = SqliteProjectionStore(str(tmp_path / "odd name ?#.db"))
        assert Projection("p", store, {"a": insert}, initial=create).update(log).applied == wanted
        assert rows(store, "SELECT n FROM t") == [(1,)]
        store.close()
        store.close()


def test_a_file_that_is_no_database_is_told_and_kept(log, tmp_path):
    (tmp_path / "state.db").write_text("no database, but long enough to look at" * 100)
    store = SqliteProjectionStore(tmp_path / "state.db")
    with pytest.raises(sqlite3.DatabaseError):
        Projection("p", store, {"a": insert}).update(log)
    assert Path(tmp_path / "state.db").read_text().startswith("no database")


def test_a_file_that_another_holds_is_waited_for_and_no_longer(log, tmp_path, store):
    log.append("a", 1)
    Projection("p", store, {"a": insert}, initial=create).update(log)
    log.append("a", 2)
    impatient = SqliteProjectionStore(tmp_path / "state.db", busy_seconds=0.01)
    projection = Projection("p", impatient, {"a": insert}, initial=create)
    with store.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
        projection.update(log)
    assert projection.update(log).applied == 1
    impatient.close()
