"""Projections: what is applied, when a state is believed, when it is built anew, and how a run is followed and stopped."""

import asyncio
import logging
import shutil
import threading
import time

import aresbus
import pytest
from aresbus import (
    Event,
    MemoryProjectionStore,
    Projection,
    ProjectionError,
    SqliteProjectionStore,
    TruncatedError,
)

COUNTS = "CREATE TABLE fills (seq INTEGER, quantity INTEGER)"


class InMemory:
    """The same projection on each store: keeps seq and quantity of every fill."""

    def __init__(self, folder):
        self.store = MemoryProjectionStore()

    @staticmethod
    def initial(state):
        state["fills"] = []

    @staticmethod
    def on_fill(state, event):
        state["fills"].append((event.seq, event.data["quantity"]))

    def rows(self):
        return self.store.state.get("fills", [])


class OnSqlite:
    def __init__(self, folder):
        self.store = SqliteProjectionStore(folder / "fills.db")

    @staticmethod
    def initial(db):
        db.execute(COUNTS)

    @staticmethod
    def on_fill(db, event):
        db.execute("INSERT INTO fills VALUES (?, ?)", (event.seq, event.data["quantity"]))

    def rows(self):
        reader = self.store.reader()
        try:
            return reader.execute("SELECT seq, quantity FROM fills ORDER BY rowid").fetchall()
        finally:
            reader.close()


@pytest.fixture(params=[InMemory, OnSqlite])
def kept(request, tmp_path):
    """A projection's store, its functions, and what it holds."""
    kept = request.param(tmp_path)
    yield kept
    if isinstance(kept, OnSqlite):
        kept.store.close()


@pytest.fixture
def log(tmp_path):
    with aresbus.open(tmp_path / "log", durability="none") as log:
        yield log


def projection_of(kept, *, name="fills", handlers=None, **settings):
    handlers = {"order_filled": kept.on_fill} if handlers is None else handlers
    return Projection(name, kept.store, handlers, initial=kept.initial, **settings)


def fill(log, *quantities):
    for quantity in quantities:
        log.append("order_filled", {"quantity": quantity})


# What is applied


def test_an_update_applies_what_is_new_and_nothing_twice(log, kept):
    projection = projection_of(kept)
    assert projection.update(log) == (0, None, None)
    assert kept.rows() == []
    fill(log, 5, 6)
    log.append("of no interest", {})
    assert projection.update(log) == (2, 2, None)
    assert projection.update(log) == (0, 2, None)
    fill(log, 7)
    assert projection.update(log) == (1, 3, None)
    assert kept.rows() == [(0, 5), (1, 6), (3, 7)]
    assert projection.position().seq == 3
    assert projection.position().event_id == list(log.read())[3].event_id


def test_more_than_one_transaction(log, kept):
    log.append_many([("order_filled", {"quantity": n}) for n in range(2_500)])
    heard = []
    assert projection_of(kept).update(log, progress=lambda *at: heard.append(at)) == (2_500, 2_499, None)
    assert kept.rows() == [(n, n) for n in range(2_500)]
    assert heard == [(1_000, 2_500), (2_000, 2_500), (2_500, 2_500)]


def test_an_exact_multiple_of_a_transaction_ends(log, kept):
    log.append_many([("order_filled", {"quantity": n}) for n in range(1_000)])
    assert projection_of(kept).update(log) == (1_000, 999, None)
    assert len(kept.rows()) == 1_000


def test_long_stretches_of_no_interest_are_not_read_again(log, kept):
    projection = projection_of(kept)
    fill(log, 1)
    log.append_many([("noise", None)] * 9_000)
    projection.update(log)
    assert projection.position().seq == 0
    log.append_many([("noise", None)] * 2_000)
    assert projection.update(log) == (0, 11_000, None)
    assert projection.position().seq == 11_000
    fill(log, 2)
    assert projection.update(log) == (1, 11_001, None)
    assert kept.rows() == [(0, 1), (11_001, 2)]


def test_a_failing_handler_undoes_the_transaction_and_is_told(log, kept):
    is_broken = True

    def sometimes(state, event):
        if is_broken and event.data["quantity"] == 3:
            raise ZeroDivisionError
        kept.on_fill(state, event)

    projection = projection_of(kept, handlers={"order_filled": sometimes})
    fill(log, 1, 2)
    projection.update(log)
    fill(log, 9, 3)
    for _ in range(2):
        with pytest.raises(
            ProjectionError, match="handler of order_filled raised ZeroDivisionError"
        ) as caught:
            projection.update(log)
        assert (caught.value.projection, caught.value.seq) == ("fills", 3)
        assert caught.value.event_id == list(log.read())[3].event_id
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    is_broken = False
    projection.update(log)
    assert kept.rows() == [(0, 1), (1, 2), (2, 9), (3, 3)]


def test_on_sqlite_a_failing_handler_leaves_what_was_there(log, tmp_path):
    kept = OnSqlite(tmp_path)
    fill(log, 1)
    projection_of(kept).update(log)
    fill(log, 2)
    log.append("order_filled", {})
    with pytest.raises(ProjectionError):
        projection_of(kept).update(log)
    assert kept.rows() == [(0, 1)]
    assert projection_of(kept).position().seq == 0
    kept.store.close()


def test_events_are_presented_first_whatever_type_they_get(log, kept):
    log.append("old_fill", [1, 2])
    fill(log, 3)

    def present(event):
        if event.event_type != "old_fill":
            return [event]
        return [Event("order_filled", {"quantity": n}, event.metadata) for n in event.data]

    def noting(state, event):
        quantities.append(event.data["quantity"])

    quantities = []
    projection = projection_of(kept, handlers={"order_filled": noting}, present=present)
    assert projection.update(log).applied == 2
    assert quantities == [1, 2, 3]


# When a state is believed


def test_a_raised_version_builds_anew(log, kept, caplog):
    fill(log, 1, 2)
    projection_of(kept).update(log)
    updated = projection_of(kept, version=2).update(log)
    assert updated.applied == 2
    assert updated.rebuilt == "its version is 2, the state is of version 1"
    assert "projection fills is rebuilt: its version is 2" in caplog.text
    assert kept.rows() == [(0, 1), (1, 2)]


def lose(tmp_path, log, before):
    """Put the log back to the copy ``before``, as a power loss might, and open it."""
    log.close()
    shutil.rmtree(tmp_path / "log")
    shutil.copytree(before, tmp_path / "log")
    return aresbus.open(tmp_path / "log")


@pytest.mark.parametrize("appended_after", [0, 1, 5])
def test_history_that_was_lost_builds_anew_and_says_so(tmp_path, kept, caplog, appended_after):
    with aresbus.open(tmp_path / "log") as log:
        fill(log, 1, 2)
    before = shutil.copytree(tmp_path / "log", tmp_path / "before")
    log = aresbus.open(tmp_path / "log")
    fill(log, 3, 4)
    projection = projection_of(kept)
    projection.update(log)
    (_, _, third, fourth) = log.read()
    with lose(tmp_path, log, before) as log:
        fill(log, *range(100, 100 + appended_after))
        updated = projection.update(log)
        assert updated.rebuilt == f"the log lost event {fourth.event_id}, which stood at seq 3"
        assert [quantity for _, quantity in kept.rows()] == [1, 2, *range(100, 100 + appended_after)]
        assert projection.update(log).rebuilt is None
    assert "which stood at seq 3" in caplog.text
    assert third.seq == 2


def test_history_lost_beyond_the_position_changes_nothing(tmp_path, kept):
    with aresbus.open(tmp_path / "log") as log:
        fill(log, 1, 2)
        projection_of(kept).update(log)
    before = shutil.copytree(tmp_path / "log", tmp_path / "before")
    log = aresbus.open(tmp_path / "log")
    fill(log, 3)
    with lose(tmp_path, log, before) as log:
        fill(log, 4)
        assert projection_of(kept).update(log) == (1, 2, None)
    assert kept.rows() == [(0, 1), (1, 2), (2, 4)]


def test_another_log_is_refused(log, kept, tmp_path):
    fill(log, 1)
    projection = projection_of(kept)
    projection.update(log)
    with aresbus.open(tmp_path / "other") as other:
        fill(other, 9, 9)
        with pytest.raises(ProjectionError, match="made from log"):
            projection.update(other)
        projection.reset()
        assert projection.update(other).applied == 2


def test_the_store_of_another_projection_is_refused(log, tmp_path):
    kept = OnSqlite(tmp_path)
    fill(log, 1)
    projection_of(kept).update(log)
    with pytest.raises(ProjectionError, match="belongs to projection fills"):
        projection_of(kept, name="other").update(log)
    assert kept.rows() == [(0, 1)]
    kept.store.close()


# Resetting and building anew


def test_a_reset_empties_and_the_next_update_builds(log, kept):
    fill(log, 1, 2)
    projection = projection_of(kept)
    projection.update(log)
    projection.reset()
    assert kept.rows() == []
    assert projection.position() is None
    assert projection.update(log) == (2, 1, None)
    assert kept.rows() == [(0, 1), (1, 2)]


def test_a_rebuild_tells_how_far_it_is(log, kept):
    log.append_many([("order_filled", {"quantity": n}) for n in range(1_500)])
    projection, heard = projection_of(kept), []
    projection.update(log)
    assert projection.rebuild(log, progress=lambda *at: heard.append(at)).applied == 1_500
    assert heard == [(1_000, 1_500), (1_500, 1_500)]
    assert len(kept.rows()) == 1_500


@pytest.fixture
def short_log():
    with aresbus.Log(None, memory_bytes=4 << 20) as log:
        yield log


def drown(log):
    for n in range(1_500):
        log.append("noise", [n, "x" * 10_000])


def test_a_log_without_its_beginning_is_refused_unless_that_will_do(short_log, kept):
    fill(short_log, 1, 2)
    projection = projection_of(kept)
    projection.update(short_log)
    drown(short_log)
    fill(short_log, 3)
    for act in (projection.update, projection.rebuild):
        with pytest.raises(TruncatedError) as caught:
            act(short_log)
        assert caught.value.first_seq == short_log.first_seq
    willing = projection_of(kept, from_oldest_kept=True)
    willing.update(short_log)
    assert [quantity for _, quantity in kept.rows()] == [3]
    willing.rebuild(short_log)
    assert [quantity for _, quantity in kept.rows()] == [3]


def test_a_refused_rebuild_leaves_the_state(short_log, kept):
    fill(short_log, 1)
    projection = projection_of(kept)
    projection.update(short_log)
    drown(short_log)
    with pytest.raises(TruncatedError):
        projection.rebuild(short_log)
    assert kept.rows() == [(0, 1)]


def test_an_empty_state_does_not_skip_what_was_dropped_meanwhile(short_log, kept):
    projection = projection_of(kept)
    projection.update(short_log)
    fill(short_log, 1)
    drown(short_log)
    with pytest.raises(TruncatedError):
        projection.update(short_log)


# Durability


def test_a_store_that_survives_power_loss_never_runs_ahead_of_the_log(log, tmp_path):
    kept = OnSqlite(tmp_path)
    fill(log, 1, 2, 3)
    projection_of(kept).update(log)
    assert log.durable_seq >= projection_of(kept).position().seq == 2
    kept.store.close()


def test_a_reader_takes_what_is_durable(tmp_path, kept):
    with aresbus.open(tmp_path / "log", durability="group") as log:
        fill(log, 1, 2)
    with aresbus.open(tmp_path / "log", mode="r") as reader:
        assert projection_of(kept).update(reader) == (2, 1, None)


# Following


def follow_in_thread(projection, log, **settings):
    failures = []

    def act():
        try:
            projection.follow(log, **settings)
        except aresbus.AresbusError as error:
            failures.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    return thread, failures


def until(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_following_applies_what_comes_until_it_is_stopped(log, kept):
    projection = projection_of(kept)
    fill(log, 1)
    projection.update(log)
    thread, failures = follow_in_thread(projection, log)
    for n in range(2, 5):
        fill(log, n)
        until(lambda n=n: len(kept.rows()) == n)
    projection.stop()
    thread.join(20)
    assert (thread.is_alive(), failures) == (False, [])
    fill(log, 5)
    projection.stop()
    projection.follow(log)  # stopped before it began
    assert len(kept.rows()) == 4
    projection.follow(log, timeout=0)
    assert len(kept.rows()) == 5


def test_following_ends_with_the_error_of_a_handler_and_with_the_log(tmp_path, kept):
    with aresbus.open(tmp_path / "log") as log:
        projection = projection_of(kept)
        thread, failures = follow_in_thread(projection, log)
        log.append("order_filled", {"no": "quantity"})
        thread.join(20)
        assert [type(error) for error in failures] == [ProjectionError]
        projection = projection_of(kept, handlers={"order_done": kept.on_fill}, version=2)
        thread, failures = follow_in_thread(projection, log)
        until(lambda: projection.position() is not None)
    thread.join(20)
    assert [type(error) for error in failures] == [aresbus.LogClosedError]


# What is refused


async def an_async_handler(state, event):
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("name", "handlers", "error"),
    [
        ("", {"a": InMemory.on_fill}, ValueError),
        ("x", {}, ValueError),
        ("x", {"a": an_async_handler}, TypeError),
        ("x", {"a": None}, TypeError),
    ],
)
def test_making_a_projection_refuses_what_could_not_work(name, handlers, error):
    with pytest.raises(error):
        Projection(name, MemoryProjectionStore(), handlers)


def test_nothing_is_logged_in_health(log, kept, caplog):
    caplog.set_level(logging.INFO)
    fill(log, 1)
    projection_of(kept).update(log)
    assert caplog.text == ""


def test_a_reader_follows_the_writer(tmp_path, kept):
    with (
        aresbus.open(tmp_path / "log", durability="group") as log,
        aresbus.open(tmp_path / "log", mode="r") as reader,
    ):
        projection = projection_of(kept)
        thread, failures = follow_in_thread(projection, reader)
        for n in range(1, 4):
            fill(log, n)
            until(lambda n=n: len(kept.rows()) == n if projection.position() else False)
        projection.stop()
        thread.join(20)
        assert failures == []
