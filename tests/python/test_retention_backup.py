"""Backups of logs that have forgotten something, and of such as forget while the backup is taken."""

import threading
from contextlib import contextmanager

import aresbus
import pytest
from aresbus import RetentionPolicy, restore, verify_backup
from aresbus.subscriptions import Anchor
from aresbus.subscriptions.checkpoints import SubscriptionLog, names_in
from test_retention import filled, opened, sealed

FEW = RetentionPolicy(max_events=150)


@contextmanager
def beside(work):
    """Call ``work(n)`` again and again in a thread, as long as the block lasts; what fails in it fails the block."""
    stop, failures = threading.Event(), []

    def again():
        n = 0
        try:
            while not stop.is_set():
                work(n)
                n += 1
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures


@pytest.mark.parametrize("mode", ["rw", "r"])
def test_a_backup_beside_passes_of_retention_is_one_state_of_the_log(tmp_path, mode):
    place = tmp_path / "log"
    with opened(place) as log:
        log.append("opened", {}, aggregate_id="order-gone")
        filled(log, 200)
        sealed(log)

        def pass_by(n):
            filled(log, 20)
            log.apply_retention(log.retention_plan(FEW))

        firsts = set()
        with beside(pass_by), opened(place, mode="r") as reader:
            for n in range(8):
                report = (log if mode == "rw" else reader).backup(tmp_path / "backup")
                again = tmp_path / f"again-{n}"
                restore(tmp_path / "backup", again)
                firsts.add(report.first_seq)
                with aresbus.open(again) as restored:
                    read = [event.seq for event in restored.read()]
                    assert read == list(range(report.first_seq, report.last_seq + 1))
                    assert restored.head().tree_size == len(read) + report.first_seq
                    assert restored.aggregate_version("order-gone") == 0
                    assert not restored.verify()["findings"]
        assert len(firsts) > 1


def test_a_readers_backup_right_behind_a_pass_has_what_the_pass_left(tmp_path):
    with opened(tmp_path / "log", sync_interval_ms=60_000) as log:
        filled(log, 400)
        sealed(log)
        with opened(tmp_path / "log", mode="r") as reader:
            log.apply_retention(log.retention_plan(FEW))
            report = reader.backup(tmp_path / "backup")
            assert report.first_seq == log.first_seq > 0
            assert report.last_seq == log.last_seq


def test_holds_are_taken_whole_while_they_change(tmp_path):
    with opened(tmp_path / "log") as log:
        filled(log, 200)
        log.hold("always", {"up_to": 0}, "court")

        def change(n):
            log.hold(f"case {n}", {"up_to": n}, "for a moment")
            log.release(f"case {n}")

        with beside(change):
            for n in range(8):
                log.backup(tmp_path / "backup")
                restore(tmp_path / "backup", tmp_path / f"again-{n}")
                with aresbus.open(tmp_path / f"again-{n}") as restored:
                    names = [one.name for one in restored.holds]
                    assert names[0] == "always"
                    assert len(names) <= 2
        assert not verify_backup(tmp_path / "backup")


def test_the_memory_of_a_subscription_that_has_forgotten_is_in_the_backup(tmp_path):
    with opened(tmp_path / "log") as log:
        filled(log, 10)
        memory = SubscriptionLog(log, "desk")
        for n in range(25_000):
            memory.advance(Anchor(1, n, "x" * 60))
        memory.close()
        first = 0
        while not first:
            memory = SubscriptionLog(log, "desk")
            first = memory._log.first_seq
            memory.close()
        log.backup(tmp_path / "backup")
        restore(tmp_path / "backup", tmp_path / "again")
    assert list(names_in(str(tmp_path / "again"))) == ["desk"]
    with aresbus.open(tmp_path / "again") as log:
        memory = SubscriptionLog(log, "desk")
        assert memory.checkpoint == Anchor(1, 24_999, "x" * 60)
        memory.close()
