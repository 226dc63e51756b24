"""What is done to snapshots by hand: listed, checked against the events, dropped on record; and that damage shows."""

import json
from pathlib import Path

import aresbus
import orjson
import pytest
from aresbus import (
    Repository,
    SnapshotPolicy,
    check_snapshots,
    drop_snapshots,
    list_snapshots,
    snapshot_record,
    take_snapshot,
)
from aresbus.cli import main
from aresbus.snapshot_record import StoredSnapshot
from bus_support import make_bus, run
from order_support import Order
from snapshot_programs import counting, reducers
from snapshot_support import read_snapshots, stored_snapshots


@pytest.fixture
def log(tmp_path):
    """Five events each of order-1 and order-2, a snapshot of both at the fourth and fifth."""
    with aresbus.open(tmp_path / "log") as log:
        fill(log)
        yield log


def fill(log):
    for n in range(5):
        for name in ("order-1", "order-2"):
            log.append("note", n, aggregate_id=name)
            if n >= 3:
                take_snapshot(log, name, reducers)


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


def file_of(log, aggregate_id, at=0):
    return Path(log.path) / "snapshots" / log._snapshots(aggregate_id)[at][1]


def verdicts(found):
    return {(one.aggregate_id, one.seq): one.verdict for one in found}


def tampered(log, aggregate_id, **changes):
    """The newest snapshot with another state, as only a bug could write it: digest and all are right."""
    stored = stored_snapshots(log, aggregate_id)[0]
    body = {**orjson.loads(stored.encode()), **changes.pop("body", {})}
    body["snapshot"] |= changes
    del body["digest"]
    payload = orjson.dumps({**body, "digest": snapshot_record._digest(body)})
    log._write_snapshot(aggregate_id, body["snapshot"]["sequence_number"], payload, 9)


def test_all_are_sound_beside_the_writer_and_in_its_own_process(tmp_path, log):
    expected = {
        ("order-1", 6): "sound",
        ("order-1", 8): "sound",
        ("order-2", 7): "sound",
        ("order-2", 9): "sound",
    }
    assert verdicts(check_snapshots(log, reducers)) == expected
    assert set(verdicts(list_snapshots(log)).values()) == {"listed"}
    with aresbus.open(tmp_path / "log", mode="r") as reader:
        assert verdicts(check_snapshots(reader, reducers)) == expected
        only = check_snapshots(reader, reducers, aggregate_id="order-2")
        assert [one.seq for one in only] == [9, 7]
        newest = only[0]
        assert (newest.kind, newest.aggregate_version, newest.is_fault, newest.reason) == (
            "state",
            4,
            False,
            "",
        )
        assert newest.to_dict()["verdict"] == "sound"


def test_what_is_wrong_is_told_apart(log):
    tampered(log, "order-1", state_data={"n": 99})
    flip(file_of(log, "order-1", 1))
    tampered(log, "order-2", body={"event_id": "one that was lost"})
    found = check_snapshots(log, reducers)
    by_seq = {one.seq: one.verdict for one in found}
    assert by_seq == {6: "damaged", 8: "differs", 7: "sound", 9: "displaced"}
    assert {one.seq for one in found if one.is_fault} == {6, 8, 9}
    assert all(one.reason for one in found if one.is_fault)


def test_a_version_that_does_not_fit_the_state_differs(log):
    tampered(log, "order-2", body={"aggregate_version": 7})
    assert verdicts(check_snapshots(log, reducers))["order-2", 9] == "differs"


def test_of_other_reducers_it_is_outdated_and_never_used(log):
    newer = counting(2)
    assert set(verdicts(check_snapshots(log, newer)).values()) == {"outdated"}
    rebuilt = aresbus.rebuild(log, "order-1", newer)
    assert (rebuilt.base, rebuilt.ignored_snapshots, rebuilt.damaged_snapshots) == (None, 2, 0)
    assert take_snapshot(log, "order-1", newer).state_data == {"n": 5}
    assert verdicts(check_snapshots(log, newer, aggregate_id="order-1")) == {
        ("order-1", 8): "sound",
        ("order-1", 6): "outdated",
    }


def test_those_of_aggregate_classes_are_checked_with_the_class(log):
    orders = Repository(log, Order, snapshot_every=1)
    orders.execute("o-1", lambda order: order.place(10))
    orders.execute("o-1", lambda order: order.fill(4))
    name = "Order(o-1)"
    assert set(verdicts(check_snapshots(log, aggregate_id=name)).values()) == {"unchecked"}
    assert set(verdicts(check_snapshots(log, aggregates=[Order], aggregate_id=name)).values()) == {"sound"}
    tampered(
        log, name, state_data={**stored_snapshots(log, name)[0].snapshot.state_data, "open_quantity": 99}
    )
    assert verdicts(check_snapshots(log, aggregates=[Order], aggregate_id=name))[name, 11] == "differs"


def test_a_repository_takes_them_by_hand_by_time_and_when_a_predicate_holds(tmp_path):
    clock = aresbus.ManualClock(10**18)
    with aresbus.open(tmp_path, clock=clock) as log:
        by_hand = Repository(log, Order)
        assert by_hand.take_snapshot("o-1") is None
        by_hand.execute("o-1", lambda order: order.place(10))
        taken = by_hand.take_snapshot("o-1")
        assert (taken.sequence_number, by_hand.take_snapshot("o-1")) == (0, taken)
        policy = SnapshotPolicy(
            every_seconds=10, when=lambda state, event: state["open_quantity"] == 3, kept=9
        )
        orders = Repository(log, Order, snapshot_policy=policy)
        seqs = lambda: [seq for seq, _ in log._snapshots("Order(o-1)")]  # noqa: E731
        for seconds, quantity, expected in (
            (0, 1, [0]),
            (9, 1, [0]),
            (1, 1, [3, 0]),
            (0, 4, [4, 3, 0]),
            (9, 1, [4, 3, 0]),
        ):
            clock.advance_ns(seconds * 10**9)
            orders.execute("o-1", lambda order, quantity=quantity: order.fill(quantity))
            assert seqs() == expected
        assert set(verdicts(check_snapshots(log, aggregates=[Order])).values()) == {"sound"}
        with pytest.raises(ValueError, match="one of them"):
            Repository(log, Order, snapshot_every=1, snapshot_policy=policy)


def test_dropping_is_an_act_on_record_and_changes_no_state(tmp_path, log):
    before = aresbus.rebuild(log, "order-1", reducers).state
    flip(file_of(log, "order-1"))
    assert [one.seq for one in drop_snapshots(log, damaged_only=True, reason="a bit flipped")] == [8]
    assert len(drop_snapshots(log, "order-2")) == 2
    assert verdicts(check_snapshots(log, reducers)) == {("order-1", 6): "sound"}
    assert len(drop_snapshots(log)) == 1
    rebuilt = aresbus.rebuild(log, "order-1", reducers)
    assert (rebuilt.state, rebuilt.base, rebuilt.ignored_snapshots) == (before, None, 0)
    acts = aresbus.read_acts(log, act="snapshots.drop")
    assert [one.result["count"] for one in acts] == [1, 2, 1]
    assert acts[0].actor["reason"] == "a bit flipped"
    assert acts[1].details == {"aggregate_id": "order-2", "damaged_only": False, "force": False}
    with aresbus.open(tmp_path / "log", mode="r") as reader:
        assert list_snapshots(reader) == []


def test_a_reader_drops_nothing(tmp_path, log):
    with aresbus.open(tmp_path / "log", mode="r") as reader, pytest.raises(aresbus.StorageError):
        drop_snapshots(reader)
    assert len(list_snapshots(log)) == 4


def test_on_a_bus_damage_is_passed_over_counted_and_shown(tmp_path):
    async def act():
        bus = make_bus(tmp_path)
        bus.register_reducer(None, lambda state, _: {"n": state.get("n", 0) + 1}, category="order")
        bus.set_snapshot_policy(SnapshotPolicy(every_events=2))
        for n in range(5):
            await bus.publish("risk_alert", n, aggregate_id="order-1")
            await bus.process_pending()
        assert bus.check_health().checks["snapshots"].status == "healthy"
        assert set(verdicts(await bus.check_snapshots()).values()) == {"sound"}
        flip(file_of(bus.log, "order-1"))
        assert (await bus.rebuild_from_events("order-1")) == {"n": 5}
        expected = {"snapshots_created": 2, "snapshots_ignored": 1, "snapshots_damaged": 1}
        assert bus.get_status()["snapshots"] == expected
        assert bus.metrics["snapshots_damaged"] == 1
        health = bus.check_health().checks["snapshots"]
        assert (health.status, "snapshots check" in health.reason) == ("degraded", True)
        assert [one.verdict for one in await bus.check_snapshots("order-1")] == ["damaged", "sound"]
        assert len(await bus.drop_snapshots("order-1", damaged_only=True, reason="why")) == 1
        assert [one.verdict for one in await bus.check_snapshots("order-1")] == ["sound"]
        await bus.stop()

    run(act())


def test_one_of_a_lost_event_does_not_push_out_good_ones(log):
    """A cut log uses positions again: what was made of its old end is newer in name only."""
    last = stored_snapshots(log, "order-1")[0]
    for seq in (20, 21):
        snapshot = last.snapshot.__class__("s", last.snapshot.timestamp, "order-1", seq, {"n": 99})
        lost = StoredSnapshot(
            snapshot, kind="state", reducers=last.reducers, anchor=last.anchor._replace(seq=seq)
        )
        log._write_snapshot("order-1", seq, lost.encode(), 9)
    log.append("note", 5, aggregate_id="order-1")
    assert take_snapshot(log, "order-1", reducers).sequence_number == 10
    assert [seq for seq, _ in read_snapshots(log, "order-1")] == [10, 8]


def test_one_in_a_state_that_cannot_be_made_again_stays_unless_forced():
    with aresbus.Log(None, memory_bytes=4 << 20) as log:
        fill(log)
        for n in range(1_500):
            log.append("noise", [n, "x" * 10_000])
        assert log.first_seq > 10
        assert set(verdicts(check_snapshots(log, reducers)).values()) == {"unprovable"}
        for bounds in ({}, {"to_seq": 8}, {"to_seq": 1_000}):
            assert aresbus.rebuild(log, "order-1", reducers, **bounds).state == {"n": 5}
        with pytest.raises(aresbus.TruncatedError):  # from the older one on, an event is missing
            aresbus.rebuild(log, "order-1", reducers, to_seq=7)
        log.append("note", 5, aggregate_id="order-1")
        assert aresbus.rebuild(log, "order-1", reducers).state == {"n": 6}
        assert drop_snapshots(log) == []
        assert len(drop_snapshots(log, "order-2", force=True)) == 2
        with pytest.raises(aresbus.TruncatedError):
            aresbus.rebuild(log, "order-2", reducers)


def test_an_older_snapshot_is_no_state_of_now_where_later_events_are_gone():
    with aresbus.Log(None, memory_bytes=4 << 20) as log:
        log.append("note", 0, aggregate_id="order-1")
        take_snapshot(log, "order-1", reducers)
        log.append("note", 1, aggregate_id="order-1")
        for n in range(1_500):
            log.append("noise", [n, "x" * 10_000])
        assert log.first_seq > 10
        with pytest.raises(aresbus.TruncatedError):
            aresbus.rebuild(log, "order-1", reducers)
        assert aresbus.rebuild(log, "order-1", reducers, to_seq=0).state == {"n": 1}


# The command line

PROGRAMS = ["--with", "snapshot_programs:reducers", "--with", "snapshot_programs:Order"]


def test_the_command_line_lists_checks_and_drops(tmp_path, log, capsys):
    folder = str(tmp_path / "log")
    assert main(["snapshots", "list", folder]) == 0
    assert capsys.readouterr().out.count("listed") == 4
    assert main(["snapshots", "check", folder, *PROGRAMS]) == 0
    assert "4 snapshots, 4 sound, 0 faults" in capsys.readouterr().out
    assert main(["snapshots", "check", folder]) == 0
    assert capsys.readouterr().out.count("outdated") == 4
    tampered(log, "order-1", state_data={})
    assert main(["snapshots", "check", folder, *PROGRAMS, "--json", "--aggregate", "order-1"]) == 1
    assert [one["verdict"] for one in json.loads(capsys.readouterr().out)] == ["differs", "sound"]
    flip(file_of(log, "order-1"))
    assert main(["snapshots", "list", folder, "--aggregate", "order-1"]) == 1
    assert main(["snapshots", "drop", folder, "--all"]) == 2
    assert "open for writing" in capsys.readouterr().err
    log.close()
    assert main(["snapshots", "drop", folder, "--all", "--damaged", "--reason", "r"]) == 0
    assert "1 of 4 snapshots dropped" in capsys.readouterr().out
    assert main(["snapshots", "drop", folder, "--aggregate", "order-2"]) == 0
    assert main(["snapshots", "check", folder, *PROGRAMS]) == 0
    assert "1 snapshot, 1 sound" in capsys.readouterr().out
    assert [one.actor["reason"] for one in aresbus.read_acts(folder, act="snapshots.drop")] == ["r", ""]


def test_the_command_line_makes_no_log_and_takes_no_other_code(tmp_path, log, capsys):
    assert main(["snapshots", "drop", str(tmp_path / "none"), "--all"]) == 2
    assert not (tmp_path / "none").exists()
    assert main(["snapshots", "check", str(tmp_path / "log"), "--with", "snapshot_programs:nothing"]) == 2
    assert main(["snapshots", "check", str(tmp_path / "log"), "--with", "json:dumps"]) == 2
    assert "takes Reducers" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["snapshots", "drop", str(tmp_path / "log")])
