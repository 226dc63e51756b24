"""append_many with expectations: checked before anything is written, and everything that fails is told at once."""

import pickle
import threading

import pytest
from aresbus import _core, errors
from aresbus._core import Expected


@pytest.fixture
def log():
    """Account a at version 1, account b at version 0."""
    with _core.Log(None) as log:
        log.append("opened", 0, aggregate_id="a")
        log.append("opened", 0, aggregate_id="b")
        log.append("paid", 5, aggregate_id="a")
        yield log


def entry(aggregate_id, **more):
    return {"event_type": "moved", "data": 1, "aggregate_id": aggregate_id, **more}


def test_a_batch_is_written_where_everything_expected_is_met(log):
    expected = {"a": 1, "b": Expected.EXISTS, "c": Expected.NONE, "d": Expected.ANY}
    receipts = log.append_many([entry("a"), entry("c")], expected=expected)
    assert [receipt.aggregate_version for receipt in receipts] == [2, 0]


def test_an_aggregate_that_the_batch_does_not_write_is_checked(log):
    with pytest.raises(errors.VersionConflictError) as raised:
        log.append_many([entry("b")], expected={"a": 0})
    error = raised.value
    assert (error.aggregate_id, error.expected, error.actual) == ("a", 0, 1)
    assert (error.conflicting_seq, error.conflicting_type) == (2, "paid")
    assert log.last_seq == 2


def test_everything_that_fails_is_told_at_once(log):
    batch = [
        entry("a", expected_version=7),
        entry("b", expected_version=0),
        entry("a", expected_version=Expected.NONE),
    ]
    with pytest.raises(errors.VersionConflictError, match=r"\(4 more checks failed\)") as raised:
        log.append_many(batch, expected={"a": 0, "b": 0, "c": Expected.EXISTS, "d": 3})
    conflict = {
        "aggregate_id": "a",
        "expected": 0,
        "actual": 1,
        "conflicting_seq": 2,
        "conflicting_type": "paid",
    }
    nothing = {"actual": None, "conflicting_seq": None, "conflicting_type": None}
    assert raised.value.conflicts == [
        conflict,
        {"aggregate_id": "c", "expected": Expected.EXISTS, **nothing},
        {"aggregate_id": "d", "expected": 3, **nothing},
        conflict | {"expected": 7},
        # Version 2 would be the batch's own first event, which was not written and is nowhere to be read.
        {**nothing, "aggregate_id": "a", "expected": Expected.NONE, "actual": 2},
    ]
    assert {name: getattr(raised.value, name) for name in conflict} == conflict
    assert log.last_seq == 2


def test_expectations_are_of_the_log_before_the_batch_and_those_of_entries_of_their_place_in_it(log):
    batch = [entry("a", expected_version=1), entry("a", expected_version=2), entry("a")]
    receipts = log.append_many(batch, expected={"a": 1})
    assert [receipt.aggregate_version for receipt in receipts] == [2, 3, 4]


def test_one_append_that_fails_lists_its_one_conflict(log):
    with pytest.raises(errors.VersionConflictError) as raised:
        log.append("paid", 1, aggregate_id="b", expected_version=Expected.NONE)
    error = raised.value
    assert len(error.conflicts) == 1
    assert error.conflicts[0] == {
        "aggregate_id": error.aggregate_id,
        "expected": error.expected,
        "actual": error.actual,
        "conflicting_seq": error.conflicting_seq,
        "conflicting_type": error.conflicting_type,
    }
    assert "more" not in str(error)


def test_an_empty_batch_still_checks(log):
    assert log.append_many([], expected={"a": 1, "nobody": Expected.NONE}) == []
    with pytest.raises(errors.VersionConflictError):
        log.append_many([], expected={"a": 0})
    assert log.append_many([], expected={}) == []
    assert log.append_many([], expected=None) == []


def test_the_error_survives_pickling(log):
    with pytest.raises(errors.VersionConflictError) as raised:
        log.append_many([], expected={"a": 0, "b": Expected.NONE})
    copy = pickle.loads(pickle.dumps(raised.value))
    assert copy.conflicts == raised.value.conflicts
    assert len(copy.conflicts) == 2


@pytest.mark.parametrize(
    ("expected", "kind", "says"),
    [
        ([("a", 1)], TypeError, "mapping"),
        ("a", TypeError, "mapping"),
        ({1: 1}, TypeError, None),
        ({"a": "1"}, TypeError, "Expected or an int"),
        ({"a": None}, TypeError, "Expected or an int"),
        ({"a": True}, TypeError, "Expected or an int"),
        ({"a": -1}, ValueError, "0 to"),
        ({"a": 2**32}, ValueError, "0 to"),
        ({"\ud800": 1}, errors.EncodeError, "expected"),
        ({"x" * 1025: Expected.NONE}, errors.LimitError, "aggregate id"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(log, expected, kind, says):
    with pytest.raises(kind, match=says):
        log.append_many([entry("a")], expected=expected)
    assert log.last_seq == 2


def test_a_mapping_that_appends_meanwhile_is_heard_before_the_check(log):
    class Meddling(dict):
        def items(self):
            log.append("paid", 1, aggregate_id="a")
            return super().items()

    with pytest.raises(errors.VersionConflictError) as raised:
        log.append_many([entry("b")], expected=Meddling(a=1))
    assert raised.value.actual == 2


@pytest.mark.parametrize("durability", ["group", "always"])
def test_a_conflict_within_a_batch_waits_for_no_event_that_was_not_written(tmp_path, durability):
    with _core.Log(tmp_path / "log", durability=durability) as log:
        log.append("opened", 0, aggregate_id="a")
        refused = []

        def append():
            with pytest.raises(errors.VersionConflictError) as raised:
                log.append_many([entry("a"), entry("a", expected_version=0)])
            refused.append(raised.value)

        thread = threading.Thread(target=append, daemon=True)
        thread.start()
        thread.join(20)
        assert [error.actual for error in refused] == [1]


def test_transfers_of_many_threads_lose_nothing(log):
    done, refused = [], []

    def transfer():
        while True:
            versions = {name: log.aggregate_version(name) for name in "ab"}
            try:
                log.append_many([entry("a"), entry("b")], expected=versions)
            except errors.VersionConflictError as conflict:
                refused.extend(conflict.conflicts)
            else:
                done.append(versions)
                return

    threads = [threading.Thread(target=transfer) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    assert all(one["actual"] > one["expected"] for one in refused)
    assert sorted(versions["a"] for versions in done) == list(range(1, 9))
    assert log.aggregate_version("b") == 8
