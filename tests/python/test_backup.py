"""Backups beside a writer, and logs made of them: whole or not there, verified, up to a position or a time."""

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aresbus
import pytest
from aresbus import BackupError, CorruptionError, ManualClock, read_acts, restore, verify_backup
from aresbus.backups.manifest import MANIFEST, load, object_path
from aresbus.subscriptions import Rewound
from aresbus.subscriptions.checkpoints import names_in
from bus_support import TRADE, Seen, make_bus, publish, run
from rescue_support import append, fill, flip, numbers, segments, snapshot_of, until

CHILDREN = Path(__file__).with_name("backup_children.py")
COUNT = 1_500


@pytest.fixture(scope="module")
def sealed_log(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sealed") / "log"
    fill(folder, COUNT, sealed=True)
    return folder


@pytest.fixture(scope="module")
def taken(sealed_log, tmp_path_factory) -> Path:
    """A backup of it, only to be read."""
    target = tmp_path_factory.mktemp("taken") / "backup"
    with aresbus.open(sealed_log, mode="r") as log:
        log.backup(target)
    return target


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive its test."""
    command = [sys.executable, str(CHILDREN), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_backup_restored_is_the_log(sealed_log, taken, tmp_path):
    report = restore(taken, tmp_path / "again")
    assert (report.first_seq, report.last_seq, report.left_out) == (0, COUNT - 1, 0)
    with aresbus.open(sealed_log, mode="r") as old, aresbus.open(tmp_path / "again", mode="r") as new:
        assert new.log_id == old.log_id
        assert new.head() == old.head()
        assert [event.to_dict() for event in new.read()] == [event.to_dict() for event in old.read()]
        assert new.aggregate_version("order-1") == old.aggregate_version("order-1")
    with aresbus.open(tmp_path / "again") as log:
        assert log.epoch == 2
        assert (
            log.append("order_placed", {"n": COUNT}, aggregate_id="order-0").aggregate_version == COUNT // 3
        )
    assert aresbus.verify(tmp_path / "again")["findings"] == []
    (act,) = read_acts(tmp_path / "again", act="log.restore")
    assert act.outcome == "done"
    assert act.result["last_seq"] == COUNT - 1


def test_the_backup_is_recorded_where_it_was_taken(tmp_path):
    fill(tmp_path / "log", 10)
    with aresbus.open(tmp_path / "log") as log:
        log.backup(tmp_path / "backup")
    (act,) = read_acts(tmp_path / "log", act="log.backup")
    assert act.outcome == "done"
    assert act.result["last_seq"] == 9


def test_sealed_files_are_linked_and_the_rest_is_copied(sealed_log, tmp_path):
    target = sealed_log.parent / "linked"
    with aresbus.open(sealed_log, mode="r") as log:
        report = log.backup(target)
    sealed = [one for one in segments(sealed_log) if one.suffix == ".seg"]
    assert report.linked >= len(sealed) > 5
    inodes = {one.stat().st_ino for one in (target / "objects").iterdir()}
    assert {one.stat().st_ino for one in sealed} <= inodes
    assert all(one.stat().st_ino not in inodes for one in sealed_log.glob("segments/*.log"))
    shutil.rmtree(target)


def test_the_next_backup_brings_only_what_is_new(tmp_path):
    fill(tmp_path / "log", COUNT, sealed=True)
    with aresbus.open(tmp_path / "log", segment_bytes=65_536) as log:
        first = log.backup(tmp_path / "backup")
        append(log, 700, begin=COUNT)
        second = log.backup(tmp_path / "backup")
    assert (first.last_seq, second.last_seq) == (COUNT - 1, COUNT + 699)
    assert second.kept >= first.linked
    assert second.linked + second.copied < second.files
    assert verify_backup(tmp_path / "backup") == []
    # Nothing is left of what only the earlier one named.
    manifest = load(tmp_path / "backup")
    assert {one.name for one in (tmp_path / "backup/objects").iterdir()} == {
        one.blake3 for one in manifest.members
    }
    restore(tmp_path / "backup", tmp_path / "again")
    assert numbers(tmp_path / "again") == list(range(COUNT + 700))


def test_only_durable_events_and_no_writer_disturbed(tmp_path):
    """In the writer's process, while another thread appends, rolls and seals."""
    stop = threading.Event()
    with aresbus.open(tmp_path / "log", segment_bytes=65_536) as log:
        counts = []

        def write():
            while not stop.is_set():
                counts.append(len(append(log, 50, begin=50 * len(counts))))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            until(lambda: len(counts) > 20)
            for n in range(3):
                acknowledged = 50 * len(counts)
                report = log.backup(tmp_path / "backup")
                assert report.last_seq is not None
                assert report.last_seq + 1 >= acknowledged
                restored = restore(tmp_path / "backup", tmp_path / f"again-{n}")
                assert numbers(tmp_path / f"again-{n}") == list(range(restored.last_seq + 1))
        finally:
            stop.set()
            writer.join()
    assert numbers(tmp_path / "log") == list(range(50 * len(counts)))


def test_from_another_process_while_the_writer_lives_and_after_it_was_killed(tmp_path):
    with child("write", tmp_path / "log") as writer:
        assert writer.stdout.readline() == "writing\n"
        with aresbus.open(tmp_path / "log", mode="r") as log:
            until(lambda: log.last_seq is not None and (log.durable_seq or 0) >= 1_000)
            durable = log.durable_seq
            report = log.backup(tmp_path / "backup")
        assert report.last_seq >= durable
        assert [one.outcome for one in read_acts(tmp_path / "log", act="log.backup")] == ["done"]
    restored = restore(tmp_path / "backup", tmp_path / "again")
    assert numbers(tmp_path / "again") == list(range(restored.last_seq + 1))
    with aresbus.open(tmp_path / "log", mode="r") as log:
        after = log.backup(tmp_path / "backup")
    assert after.last_seq >= report.last_seq
    assert verify_backup(tmp_path / "backup") == []


@pytest.mark.parametrize("seed", range(4))
def test_killed_in_the_middle_the_earlier_backup_stays(tmp_path, seed):
    chance = random.Random(seed)
    fill(tmp_path / "log", 600, sealed=True)
    with aresbus.open(tmp_path / "log", segment_bytes=65_536) as log:
        if seed % 2:
            log.backup(tmp_path / "backup")
        append(log, 600, begin=600)
    with child("backup", tmp_path / "log", tmp_path / "backup") as taking:
        assert taking.stdout.readline() == "begun\n"
        deadline = time.monotonic() + chance.random() * 0.05
        while time.monotonic() < deadline and taking.poll() is None:
            time.sleep(0.0005)
    if (tmp_path / "backup" / MANIFEST).exists():
        assert verify_backup(tmp_path / "backup") == []
        assert restore(tmp_path / "backup", tmp_path / "again").last_seq in (599, 1_199)
    else:
        assert seed % 2 == 0
        with pytest.raises(BackupError):
            restore(tmp_path / "backup", tmp_path / "again")
        assert not (tmp_path / "again").exists()
    with aresbus.open(tmp_path / "log", mode="r") as log:
        assert log.backup(tmp_path / "backup").last_seq == 1_199
    assert not (tmp_path / "backup/unfinished").exists()
    restore(tmp_path / "backup", tmp_path / "at last")
    assert numbers(tmp_path / "at last") == list(range(1_200))


@pytest.mark.parametrize("step", ["excerpt", "digest", "store", "verify"])
def test_failing_at_any_step_the_earlier_backup_stays(tmp_path, monkeypatch, step):
    fill(tmp_path / "log", 600, sealed=True)
    with aresbus.open(tmp_path / "log", segment_bytes=65_536) as log:
        log.backup(tmp_path / "backup")
        before = (tmp_path / "backup" / MANIFEST).read_bytes()
        append(log, 600, begin=600)

        def fail(*_, **__):
            raise OSError(5, "the disk is gone")

        where = {
            "excerpt": "aresbus._core.excerpt",
            "digest": "aresbus._core.digest",
            "store": "aresbus.backups.making.store",
            "verify": "aresbus.backups.making.refuse_damage",
        }[step]
        with monkeypatch.context() as patched:
            patched.setattr(where, fail)
            with pytest.raises(OSError, match="the disk is gone"):
                log.backup(tmp_path / "backup")
        assert (tmp_path / "backup" / MANIFEST).read_bytes() == before
        assert verify_backup(tmp_path / "backup") == []
        assert log.backup(tmp_path / "backup").last_seq == 1_199


@pytest.mark.parametrize("seed", range(3))
def test_a_restore_killed_in_the_middle_leaves_no_log(taken, tmp_path, seed):
    with child("restore", taken, tmp_path / "again") as restoring:
        assert restoring.stdout.readline() == "begun\n"
        deadline = time.monotonic() + random.Random(seed).random() * 0.05
        while time.monotonic() < deadline and restoring.poll() is None:
            time.sleep(0.0005)
    if (tmp_path / "again").exists():
        assert numbers(tmp_path / "again") == list(range(COUNT))
    else:
        restore(taken, tmp_path / "again")
        assert numbers(tmp_path / "again") == list(range(COUNT))


@pytest.mark.parametrize("last", [0, 1, 700, COUNT - 2, COUNT - 1])
def test_restored_to_a_position(taken, tmp_path, last):
    report = restore(taken, tmp_path / "again", to_seq=last)
    assert (report.last_seq, report.left_out) == (last, COUNT - 1 - last)
    assert numbers(tmp_path / "again") == list(range(last + 1))
    with aresbus.open(tmp_path / "again") as log:
        assert log.append("order_placed", {"n": last + 1}, aggregate_id="order-0").seq == last + 1
        assert log.aggregate_version(f"order-{last % 3}") is not None
    assert aresbus.verify(tmp_path / "again")["findings"] == []


def test_every_position_of_a_small_log_can_be_restored_to(tmp_path):
    """Also at the edges of segments and epochs."""
    for begin in range(0, 1_000, 250):
        fill(tmp_path / "log", 250, begin=begin)
    with aresbus.open(tmp_path / "log", mode="r") as log:
        log.backup(tmp_path / "backup")
        edges = {one["first_seq"] for one in log.stats()["segments"]}
    for last in sorted({one + near for one in edges for near in (-1, 0, 1)} & set(range(1_000))):
        restore(tmp_path / "backup", tmp_path / str(last), to_seq=last)
        assert numbers(tmp_path / str(last)) == list(range(last + 1))


def test_a_batch_is_whole_or_not_at_all(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        log.append("alone", {"n": 0})
        log.append_many([("together", {"n": n}) for n in (1, 2, 3)])
        log.append("alone", {"n": 4})
        log.backup(tmp_path / "backup")
    for to_seq, last in ((0, 0), (1, 0), (2, 0), (3, 3), (4, 4)):
        report = restore(tmp_path / "backup", tmp_path / str(to_seq), to_seq=to_seq)
        assert report.last_seq == last
        with aresbus.open(tmp_path / str(to_seq), mode="r") as log:
            assert [event.data["n"] for event in log.read()] == list(range(last + 1))


def test_restored_to_a_time(tmp_path):
    clock = ManualClock(1_000)
    with aresbus.open(tmp_path / "log", clock=clock) as log:
        for n, ns in enumerate((1_000, 2_000, 2_000, 1_500, 3_000, 2_500)):
            clock.set_ns(ns)
            log.append("order_placed", {"n": n})
        log.backup(tmp_path / "backup")
    for moment, kept in ((1_000, 1), (1_999, 1), (2_000, 4), (2_999, 4), (3_000, 6), (9_000, 6)):
        restore(tmp_path / "backup", tmp_path / str(moment), to_time=moment)
        assert numbers(tmp_path / str(moment)) == list(range(kept))
    with pytest.raises(BackupError, match="after that moment"):
        restore(tmp_path / "backup", tmp_path / "early", to_time=999)
    assert not (tmp_path / "early").exists()


def test_a_checkpoint_of_a_later_event_is_rewound(tmp_path):
    async def act():
        async with make_bus(tmp_path / "log") as bus:
            seen = Seen()
            bus.subscribe("risk_alert", seen, name="desk", after="start")
            await publish(bus, *range(10))
            await bus.process_pending()
            bus.log.sync()
        with aresbus.open(tmp_path / "log") as log:
            log.backup(tmp_path / "backup")
        restore(tmp_path / "backup", tmp_path / "again", to_seq=5)
        again, messages = Seen(), []
        async with make_bus(tmp_path / "again") as bus:
            await publish(bus, *range(100, 110))  # as many as there were: the same positions, other events
            bus.subscribe("risk_alert", again, name="desk", on_message=messages.append)
            await bus.process_pending()
        assert again == list(range(100, 110))
        assert [(one.from_seq, one.to_seq) for one in messages if isinstance(one, Rewound)] == [(9, 6)]

    run(act())


def test_a_snapshot_of_a_later_event_is_not_believed(tmp_path):
    async def act():
        async with make_bus(tmp_path / "log", snapshot_frequency=5) as bus:
            for n in range(10):
                await bus.publish("trade_executed", {**TRADE, "n": n}, aggregate_id="a")
            await bus.process_pending()
        assert list((tmp_path / "log/snapshots").iterdir())
        with aresbus.open(tmp_path / "log") as log:
            log.backup(tmp_path / "backup")
        restore(tmp_path / "backup", tmp_path / "again", to_seq=2)
        async with make_bus(tmp_path / "again", snapshot_frequency=1_000) as bus:
            assert [one["n"] for one in (await bus.rebuild_from_events("a"))["trades"]] == [0, 1, 2]
            for n in range(100, 110):
                await bus.publish("trade_executed", {**TRADE, "n": n}, aggregate_id="a")
            state = await bus.rebuild_from_events("a")
        assert [one["n"] for one in state["trades"]] == [0, 1, 2, *range(100, 110)]

    run(act())


def test_everything_that_belongs_to_it_comes_along(tmp_path):
    async def act():
        async with make_bus(tmp_path / "log", snapshot_frequency=2) as bus:
            bus.subscribe("trade_executed", Seen(), name="desk", after="start")
            for n in range(6):
                await bus.publish("trade_executed", {**TRADE, "n": n}, aggregate_id="a")
            await bus.process_pending()

    run(act())
    with aresbus.open(tmp_path / "log") as log:
        log.backup(tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "again")
    for folder in ("snapshots", "schemas"):
        old, new = (
            sorted(one.name for one in (tmp_path / log / folder).glob("*")) for log in ("log", "again")
        )
        assert new == old
    assert list(names_in(str(tmp_path / "again"))) == ["desk"]
    old, new = (read_acts(tmp_path / log) for log in ("log", "again"))
    assert [one.act_id for one in new][: len(old) - 2] == [one.act_id for one in old][:-2]
    assert new[-1].name == "log.restore"


@pytest.mark.parametrize("number", range(6))
def test_a_flipped_bit_in_a_backup_is_found_and_never_restored(taken, tmp_path, number):
    copy = tmp_path / "backup"
    shutil.copytree(taken, copy)
    members = sorted(load(copy).members, key=lambda one: one.path)
    member = members[number * (len(members) - 1) // 5]
    flip(object_path(copy, member), min(member.bytes - 1, 700), 3)
    (finding,) = verify_backup(copy)
    assert member.path in finding["message"]
    with pytest.raises(CorruptionError, match="damaged"):
        restore(copy, tmp_path / "again")
    assert [one.name for one in tmp_path.iterdir()] == ["backup"]


def test_a_missing_file_and_a_damaged_manifest_are_found(taken, tmp_path):
    copy = tmp_path / "backup"
    shutil.copytree(taken, copy)
    object_path(copy, load(copy).members[0]).unlink()
    assert verify_backup(copy)[0]["kind"] == "missing file"
    manifest = copy / MANIFEST
    content = manifest.read_bytes()
    for at in range(0, len(content), max(1, len(content) // 40)):
        flip(manifest, at, 1)
        with pytest.raises((CorruptionError, BackupError)):
            verify_backup(copy)
        manifest.write_bytes(content)


def test_damage_is_not_backed_up(tmp_path):
    fill(tmp_path / "log", COUNT, sealed=True)
    flip(segments(tmp_path / "log")[1], 400)
    with aresbus.open(tmp_path / "log", mode="r") as log, pytest.raises(CorruptionError, match="checksum"):
        log.backup(tmp_path / "backup")
    assert not (tmp_path / "backup" / MANIFEST).exists()


def test_places_that_are_refused(sealed_log, taken, tmp_path):
    fill(tmp_path / "other", 3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with aresbus.open(tmp_path / "other", mode="r") as other:
        before = snapshot_of(taken)
        for target in (taken, tmp_path / "full", tmp_path / "other/inside", tmp_path / "full/file"):
            with pytest.raises(BackupError):
                other.backup(target)
        assert snapshot_of(taken) == before
    for target in (tmp_path / "full", tmp_path / "full/file", sealed_log):
        with pytest.raises(BackupError, match="empty"):
            restore(taken, target)
    with pytest.raises(BackupError, match="no whole backup"):
        restore(tmp_path / "full", tmp_path / "again")
    with pytest.raises(BackupError, match="ends with event"):
        restore(taken, tmp_path / "again", to_seq=COUNT)
    with pytest.raises(ValueError, match="not to both"):
        restore(taken, tmp_path / "again", to_seq=1, to_time=1)
    assert not (tmp_path / "again").exists()
    with aresbus.open(tmp_path / "log") as log, pytest.raises(BackupError, match="memory"):
        aresbus.Log(None).backup(tmp_path / "backup")
    assert log.is_closed


def test_an_empty_log_has_a_backup_too(tmp_path):
    with aresbus.open(tmp_path / "log") as log:
        assert log.backup(tmp_path / "backup").last_seq is None
    report = restore(tmp_path / "backup", tmp_path / "again")
    assert (report.last_seq, report.left_out) == (None, 0)
    with aresbus.open(tmp_path / "again") as log:
        assert log.append("order_placed", 1).seq == 0


def test_by_the_command_line(tmp_path, capsys):
    from aresbus.cli import main

    fill(tmp_path / "log", 600, sealed=True)
    log, backup, again = (str(tmp_path / name) for name in ("log", "backup", "again"))
    assert main(["backup", log, backup]) == 0
    assert "600 events, seq 0 to 599" in capsys.readouterr().out
    assert main(["verify", backup]) == 0
    assert "whole" in capsys.readouterr().out
    assert main(["restore", backup, again, "--to", "99", "--json"]) == 0
    assert '"last_seq": 99' in capsys.readouterr().out
    assert main(["restore", backup, again]) == 2
    assert "empty" in capsys.readouterr().err
    flip(object_path(Path(backup), load(backup).members[-1]), 100)
    assert main(["verify", backup]) == 1
    assert Path(again).exists()
