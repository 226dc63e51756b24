"""The audit trail: every act that exists, who did it, how it ends when it fails or is cut short, and how it is asked."""

import asyncio
import os
import pwd
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aresbus
import pytest
from aresbus import AuditError, LogClosedError, StorageError, _core, actor, read_acts
from aresbus.audit import AuditTrail
from aresbus.reader_trails import reader_trail, trails_of
from bad_day_support import aresbus_command, flip
from bus_support import make_bus, run

CHILDREN = Path(__file__).with_name("audit_children.py")
ACCOUNT = pwd.getpwuid(os.getuid()).pw_name
RECORDS_OFFSET = 12_288


def ends(path, **filters):
    return [(act.name, act.outcome) for act in read_acts(path, **filters)]


@contextmanager
def child(act, path):
    """A process that stands in the middle of its act; killed at the end if it lives."""
    command = [sys.executable, str(CHILDREN), act, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def trail_of_a_reader(path):
    (folder,) = (one for one in trails_of(path) if one.name != "audit")
    return folder


@pytest.fixture
def path(tmp_path):
    """A log that was opened and closed once."""
    aresbus.open(tmp_path / "log").close()
    return tmp_path / "log"


# The acts there are


def test_opening_and_closing(tmp_path):
    with aresbus.open(tmp_path, segment_bytes=1 << 20, reason="a test") as log:
        log.append("a", 1)
    opened, closed = read_acts(tmp_path)
    assert (opened.name, opened.outcome, closed.name, closed.outcome) == (
        "log.open",
        "done",
        "log.close",
        "done",
    )
    assert opened.details["segment_bytes"] == 1 << 20
    assert opened.result == {"log_id": log.log_id, "epoch": 1, "last_seq": None}
    assert closed.details == {"last_seq": 0}
    assert opened.begun_ns <= opened.ended_ns <= closed.begun_ns <= closed.ended_ns
    assert (opened.trail, opened.seq, closed.seq) == ("writer", 0, 2)
    assert opened.act_id != closed.act_id
    assert opened.actor == {
        "name": ACCOUNT,
        "user": ACCOUNT,
        "host": opened.actor["host"],
        "pid": os.getpid(),
        "package_version": aresbus.__version__,
        "reason": "a test",
    }


def test_an_opening_that_fails(path):
    (path / "META").write_bytes(b"\xff" * 8192)
    with pytest.raises(StorageError) as caught:
        aresbus.open(path)
    act = read_acts(path)[-1]
    assert (act.name, act.outcome) == ("log.open", "failed")
    assert act.result["error"].startswith(type(caught.value).__name__)


def test_an_opening_whose_intent_cannot_be_stored_is_refused(path):
    before = (path / "META").read_bytes()
    flip(path / "audit/segments/0000000000000001.log", RECORDS_OFFSET + 20)
    with pytest.raises(aresbus.CorruptionError) as caught:
        aresbus.open(path)
    assert caught.value.path.startswith(str(path / "audit"))
    assert (path / "META").read_bytes() == before


def test_a_recovery_is_a_note_within_its_opening(path):
    with child("write", path) as process:
        process.kill()
        process.wait()
        with aresbus.open(path) as log:
            assert not log.recovery["clean"]
    recovery = read_acts(path, act="log.recovery")[0]
    assert recovery.outcome == "done"
    assert recovery.begun_ns == recovery.ended_ns
    assert recovery.result["report"]["epoch"] == 2
    assert recovery.details == {}


def test_a_closing_whose_intent_cannot_be_stored_closes_all_the_same(path, monkeypatch):
    log = aresbus.open(path)
    log.audit_trail.close()
    with pytest.raises(LogClosedError):
        log.close()
    assert log.is_closed
    assert ends(path) == [("log.open", "done"), ("log.close", "done"), ("log.open", "done")]


def test_a_bus_records_the_configuration_it_works_with(path):
    async def act():
        async with make_bus(path, max_history=7):
            pass

    run(act())
    (configured,) = read_acts(path, act="bus.configure")
    assert configured.outcome == "done"
    assert configured.details["max_history"] == 7
    assert configured.details["storage_path"] == str(path)


def test_a_configuration_that_cannot_be_recorded_keeps_the_bus_from_starting(path, monkeypatch):
    begin = AuditTrail._begin

    def refuse(trail, name, *arguments):
        if name == "bus.configure":
            raise aresbus.DiskFullError("no room")
        return begin(trail, name, *arguments)

    monkeypatch.setattr(AuditTrail, "_begin", refuse)
    with pytest.raises(aresbus.DiskFullError):
        run(make_bus(path).initialize())
    assert ("bus.configure", "done") not in ends(path)
    aresbus.open(path).close()


# Acts of one's own


def test_an_act_has_its_intent_stored_before_and_its_outcome_after(path):
    with aresbus.open(path) as log:
        with log.act("schema.register", {"type": "trade"}, reason="new field") as result:
            (during,) = read_acts(log, act="schema.register")
            result["version"] = "1.1.0"
        (after,) = read_acts(log, act="schema.register")
    assert (during.outcome, during.ended, during.result) == ("open", None, {})
    assert (after.outcome, after.result, after.actor["reason"]) == ("done", {"version": "1.1.0"}, "new field")
    assert during.act_id == after.act_id
    with pytest.raises(FrozenInstanceError):
        after.outcome = "failed"


def test_a_failing_act_is_recorded_with_its_error_which_goes_on(path):
    with aresbus.open(path) as log, pytest.raises(KeyError), log.act("retention.drop") as result:
        result["dropped"] = 3
        raise KeyError("segment")
    (act,) = read_acts(path, act="retention.drop")
    assert act.outcome == "failed"
    assert act.result == {"dropped": 3, "error": "KeyError: 'segment'"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_act_that_is_interrupted_from_within_has_failed(path, error):
    with aresbus.open(path) as log, pytest.raises(error), log.act("export"):
        raise error
    assert read_acts(path, act="export")[0].result["error"].startswith(error.__name__)


def test_an_error_text_that_json_cannot_hold_hides_neither_the_error_nor_the_act(path):
    with aresbus.open(path) as log, pytest.raises(OSError, match="gone"), log.act("export", reason="\udc80"):
        raise OSError("gone: /data/\udcff" + "x" * 100_000)
    (act,) = read_acts(path, act="export")
    assert act.result["error"].startswith(r"OSError: gone: /data/\udcff")
    assert len(act.result["error"]) == 4_000
    assert act.actor["reason"] == r"\udc80"


def test_an_act_whose_intent_cannot_be_stored_does_not_happen(path):
    with aresbus.open(path) as log:
        with pytest.raises(aresbus.EncodeError), log.act("export", {"what": object()}):
            pytest.fail("the body ran")
        log.audit_trail.close()
        with pytest.raises(LogClosedError), log.act("export"):
            pytest.fail("the body ran")
        assert ends(log, act="export") == []
        with pytest.raises(LogClosedError):
            log.close()


@pytest.mark.parametrize(
    "make", [lambda path: aresbus.Log(None), lambda path: aresbus.open(path, audit=False)]
)
def test_in_memory_and_without_audit_an_act_happens_unrecorded(tmp_path, make):
    with make(tmp_path) as log:
        with log.act("export") as result:
            result["n"] = 1
        assert read_acts(log) == []
    assert not (tmp_path / "audit").exists()


# Who acts


def test_an_actor_holds_for_every_act_inside_and_none_outside(tmp_path):
    with actor("alice", reason="ticket 7"):
        log = aresbus.open(tmp_path)
        with actor("bob"), log.act("one"):
            pass
        with log.act("two", reason="because"):
            pass
    log.close()
    said = [
        (act.name, act.actor["name"], act.actor["reason"], act.actor["user"]) for act in read_acts(tmp_path)
    ]
    assert said == [
        ("log.open", "alice", "ticket 7", ACCOUNT),
        ("one", "bob", "", ACCOUNT),
        ("two", "alice", "because", ACCOUNT),
        ("log.close", ACCOUNT, "", ACCOUNT),
    ]


def test_a_reason_given_to_open_is_that_of_the_opening_whoever_acts(tmp_path):
    with actor("alice", reason="her day"):
        aresbus.open(tmp_path, reason="restart").close()
    assert [act.actor["reason"] for act in read_acts(tmp_path)] == ["restart", "her day"]


def test_an_actor_follows_tasks_and_threads(path):
    async def act():
        with aresbus.open(path) as log:

            def work(name):
                with log.act(name):
                    pass

            async def task(name):
                with actor(name):
                    await asyncio.sleep(0)
                    await asyncio.to_thread(work, name)

            await asyncio.gather(*(task(f"person {n}") for n in range(5)))

    run(act())
    acts = [act for act in read_acts(path) if act.name.startswith("person")]
    assert len(acts) == 5
    assert all(act.name == act.actor["name"] for act in acts)


def test_the_account_is_that_of_the_process_whatever_the_environment_says(path, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    aresbus.open(path).close()
    assert read_acts(path)[-1].actor["user"] == ACCOUNT


def test_an_account_without_a_name_is_its_number(path, monkeypatch):
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    aresbus.open(path).close()
    assert read_acts(path)[-1].actor["user"] == f"uid {os.getuid()}"


@pytest.mark.parametrize(("given", "error"), [(("",), ValueError), ((7,), TypeError)])
def test_an_actor_is_named_by_text(given, error):
    with pytest.raises(error), actor(*given):
        pytest.fail("the block ran")
    with pytest.raises(TypeError), actor("a", reason=None):
        pytest.fail("the block ran")


# Cut short


def test_an_act_cut_short_is_open_until_the_next_opening_calls_it_interrupted(path):
    with child("write", path) as process:
        assert ends(path, act="log.shrink") == [("log.shrink", "open")]
        process.kill()
        process.wait()
    assert ends(path, act="log.shrink") == [("log.shrink", "open")]
    aresbus.open(path).close()
    (act,) = read_acts(path, act="log.shrink")
    assert (act.outcome, act.details) == ("interrupted", {"to": 1})
    assert act.result == {"found_by": "the next opening"}


def test_a_writer_that_dies_leaves_no_open_act_behind_twice(path):
    for _ in range(2):
        with child("write", path):
            pass
    aresbus.open(path).close()
    assert ends(path, act="log.shrink") == [("log.shrink", "interrupted")] * 2
    assert ends(path, outcome="open") == []


# Readers


def test_a_reader_that_only_reads_leaves_nothing(path):
    before = sorted(os.listdir(path / "audit"))  # noqa: PTH208
    with aresbus.open(path, mode="r") as log:
        list(log.read())
        assert log.audit_trail is None
        assert len(read_acts(log)) == 2
    assert sorted(os.listdir(path / "audit")) == before  # noqa: PTH208


def test_a_reader_acts_in_a_trail_of_its_own_beside_a_living_writer(path):
    with aresbus.open(path) as writer, aresbus.open(path, mode="r") as log:
        with log.act("export", {"to": "disk"}):
            pass
        (act,) = read_acts(writer, act="export")
    folder = trail_of_a_reader(path)
    assert act.trail == folder.name
    assert act.outcome == "done"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_all_readers_of_one_process_share_its_trail(path):
    with aresbus.open(path, mode="r") as one, aresbus.open(f"{path}/", mode="r") as other:
        assert reader_trail(one) is reader_trail(other)

        def work(log):
            for _ in range(5):
                with log.act("export"):
                    pass

        threads = [threading.Thread(target=work, args=(log,)) for log in (one, other) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with aresbus.open(path, mode="r") as again, again.act("export"):
        pass
    assert ends(path, act="export") == [("export", "done")] * 21
    assert len(trails_of(path)) == 2


def test_a_readers_trail_without_a_writers(tmp_path):
    aresbus.open(tmp_path, audit=False).close()
    with aresbus.open(tmp_path, mode="r") as log, log.act("export"):
        pass
    assert ends(tmp_path) == [("export", "done")]
    assert aresbus_command("verify", tmp_path).returncode == 0
    with aresbus.open(tmp_path) as log:
        assert log.recovery["clean"]
    assert ends(tmp_path) == [("export", "done"), ("log.open", "done"), ("log.close", "done")]


def test_a_reader_that_may_not_be_recorded_may_not_act(tmp_path):
    aresbus.open(tmp_path, audit=False).close()
    (tmp_path / "audit").write_text("no folder")
    with aresbus.open(tmp_path, mode="r") as log:
        with pytest.raises(StorageError), log.act("export"):
            pytest.fail("the body ran")
        assert read_acts(log) == []
    with aresbus.open(tmp_path, mode="r", audit=False) as log, log.act("export"):
        pass


def test_a_log_in_memory_has_no_readers_trail():
    with aresbus.Log(None) as log, pytest.raises(ValueError, match="memory"):
        reader_trail(log)


def test_a_living_readers_act_is_left_alone_and_a_dead_ones_is_closed_by_the_next_writer(path):
    with child("read", path) as process:
        aresbus.open(path).close()
        assert ends(path, act="replay") == [("replay", "open")]
        process.kill()
        process.wait()
        aresbus.open(path).close()
    (act,) = read_acts(path, act="replay")
    assert (act.outcome, act.actor["reason"], act.actor["pid"]) == ("interrupted", "a drill", process.pid)


def test_a_forked_child_has_a_trail_of_its_own(path):
    with child("fork", path) as process:
        process.wait()
    assert sorted(ends(path, outcome="done"))[:2] == [("child", "done"), ("log.close", "done")]
    acts = {act.name: act for act in read_acts(path) if act.trail != "writer"}
    assert set(acts) == {"parent", "child"}
    assert acts["parent"].trail != acts["child"].trail


def test_readers_trails_disturb_neither_recovery_nor_info_nor_verify(path):
    with aresbus.open(path, mode="r") as log, log.act("export"):
        pass
    with aresbus.open(path) as log:
        assert log.recovery["stray_files"] == []
        assert log.recovery["warnings"] == []
    for verb in ("info", "verify"):
        done = aresbus_command(verb, path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "stray" not in done.stdout
    assert str(trail_of_a_reader(path)) in aresbus_command("verify", path).stdout


def test_a_damaged_readers_trail_is_found_and_keeps_nobody_from_writing(path, caplog):
    with aresbus.open(path, mode="r") as log, log.act("export"):
        pass
    folder = trail_of_a_reader(path)
    flip(folder / "segments/0000000000000001.log", RECORDS_OFFSET + 20)
    with aresbus.open(path) as log:
        log.append("a", 1)
    assert "passed over" in caplog.text
    assert aresbus_command("verify", path).returncode == 1
    with pytest.raises(aresbus.CorruptionError) as caught:
        read_acts(path)
    assert caught.value.path.startswith(str(folder))


def test_other_things_in_the_audit_folder_are_no_trails(path):
    (path / "audit" / "notes").mkdir()
    (path / "audit" / "01234567-89ab-cdef-0123-456789abcdef").write_text("a file")
    assert trails_of(path) == [path / "audit"]
    assert aresbus_command("verify", path).stdout.count("stray file") == 2
    aresbus.open(path).close()


def test_a_readers_trail_that_is_only_being_made_is_passed_over(path):
    (path / "audit" / "01234567-89ab-cdef-0123-456789abcdef").mkdir()
    (path / "audit" / "11234567-89ab-cdef-0123-456789abcdef").symlink_to(path)
    aresbus.open(path).close()
    assert len(read_acts(path)) == 4
    assert aresbus_command("verify", path).returncode == 0


def test_an_audit_folder_without_a_log_is_no_trail(tmp_path):
    aresbus.open(tmp_path, audit=False).close()
    (tmp_path / "audit/notes").mkdir(parents=True)
    assert read_acts(tmp_path) == []
    assert aresbus_command("verify", tmp_path).returncode == 0


# Asking


@pytest.fixture
def busy(path):
    """A log with acts of several kinds, by two people, of every outcome but open."""
    with aresbus.open(path) as log:
        for name, fails in (("alice", False), ("bob", True), ("alice", True)):
            try:
                with actor(name), log.act("schema.register"):
                    assert not fails
            except AssertionError:
                pass
    AuditTrail(str(path)).close()
    return path


def test_acts_are_asked_by_name_actor_and_outcome(busy):
    assert ends(busy, act="schema.register") == [
        ("schema.register", end) for end in ("done", "failed", "failed")
    ]
    assert ends(busy, actor="alice", outcome="failed") == [("schema.register", "failed")]
    assert {act.name for act in read_acts(busy, actor=ACCOUNT)} == {
        "log.open",
        "log.close",
        "schema.register",
    }
    assert ends(busy, act="schema.reg") == []
    with pytest.raises(ValueError, match="done, failed, interrupted, open"):
        read_acts(busy, outcome="lost")


def test_acts_are_asked_by_the_time_they_begun(busy):
    acts = read_acts(busy)
    third = acts[2]
    assert read_acts(busy, since=third.begun_ns) == acts[2:]
    assert read_acts(busy, until=third.begun_ns) == acts[:2]
    assert read_acts(busy, since=third.begun_ns, until=third.begun_ns + 1) == [third]
    hour = timedelta(hours=1)
    assert read_acts(busy, since=third.begun - hour, until=third.begun + hour) == acts
    assert read_acts(busy, since=third.begun + hour) == []
    assert third.begun.tzinfo is UTC
    assert third.ended >= third.begun
    with pytest.raises(ValueError, match="naive"):
        read_acts(busy, since=datetime(2024, 1, 1))  # noqa: DTZ001 - the naive one is the subject


def test_acts_of_all_trails_come_in_the_order_of_time(path):
    with aresbus.open(path, mode="r") as reader, aresbus.open(path) as writer:
        for log in (reader, writer, reader):
            with log.act("turn"):
                pass
    acts = read_acts(path)
    assert [act.begun_ns for act in acts] == sorted(act.begun_ns for act in acts)
    assert [act.trail == "writer" for act in acts if act.name == "turn"] == [False, True, False]


def test_a_path_without_a_log_is_no_log(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no log"):
            read_acts(place)
    aresbus.open(tmp_path, audit=False).close()
    assert read_acts(tmp_path) == []


@pytest.mark.parametrize(
    "data",
    [
        7,
        {"phase": "intent"},
        {"phase": "outcome", "outcome": "well", "details": {}, "actor": {}},
        {"phase": "later", "details": {}, "actor": {}},
        {"phase": "intent", "details": [], "actor": {}},
    ],
)
def test_an_entry_that_is_no_act_is_named_and_keeps_nobody_from_writing(path, data):
    with _core.Log(path / "audit") as trail:
        seq = trail.append("log.open", data).seq
    with pytest.raises(AuditError) as caught:
        read_acts(path)
    assert (caught.value.path, caught.value.seq) == (str(path / "audit"), seq)
    aresbus.open(path).close()
