"""The handle: opening and closing in every way there is, reports, snapshots, the clock, forks, sub-interpreters."""

import gc
import inspect
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import typing
import weakref
from pathlib import Path

import pytest
from aresbus import _core, errors, reports
from snapshot_support import read_snapshots


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


def python(code, *arguments, **options):
    """A child that runs ``code`` with the same modules."""
    command = [sys.executable, "-X", "faulthandler", "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def thread_count():
    """Threads of this process, also those that Python does not know."""
    return len(list(Path("/proc/self/task").iterdir()))


class TestOpening:
    """Options, paths, locks."""

    @pytest.mark.parametrize("kind", [str, Path])
    def test_a_path_is_text_or_path_like(self, path, kind):
        with _core.Log(kind(path)) as log:
            assert log.path == str(path)
            assert (log.mode, log.is_closed, log.poisoned, log.epoch) == ("rw", False, None, 1)

    def test_a_relative_path_stays_where_it_was(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with _core.Log("here") as log:
            monkeypatch.chdir("/")
            assert log.path == str(tmp_path / "here")
            log.append("t", 1)
            assert log.verify()["events"] == 1

    def test_without_a_path_nothing_is_written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with _core.Log(None, durability="always") as log:
            log.append("t", 1, durability="group")
            assert (log.path, log.durable_seq, log.verify()["events"]) == (None, 0, 1)
        assert list(tmp_path.iterdir()) == []

    def test_everything_wrong_is_told_at_once(self, path):
        with pytest.raises(errors.ConfigError) as raised:
            _core.Log(
                path,
                mode="w",
                durability="sometimes",
                non_finite="keep",
                sync_interval_ms=0,
                segment_bytes=1,
                memory_bytes=-1,
            )
        assert len(raised.value.problems) == 6
        assert not path.exists()
        with pytest.raises(errors.ConfigError, match="empty"):
            _core.Log("")

    @pytest.mark.parametrize(
        "arguments",
        [
            {"path": 5},
            {"path": "x", "mode": None},
            {"path": "x", "clock": 5},
            {"path": "x", "unknown": 1},
            {},
        ],
        ids=str,
    )
    def test_wrong_types_are_type_errors(self, arguments):
        with pytest.raises(TypeError):
            _core.Log(**arguments)

    def test_a_missing_log_is_a_missing_file(self, path):
        for call in (lambda: _core.Log(path, mode="r"), lambda: _core.verify(path)):
            with pytest.raises(FileNotFoundError) as raised:
                call()
            assert raised.value.filename == str(path)
        assert not path.exists()

    def test_one_writer_at_a_time_here_and_elsewhere(self, path):
        with _core.Log(path):
            with pytest.raises(errors.LogLockedError) as raised:
                _core.Log(path)
            assert (raised.value.pid, raised.value.path) == (os.getpid(), str(path))
            child = python("import sys; from aresbus import _core; _core.Log(sys.argv[1])", path)
            _, told = child.communicate(timeout=60)
            assert "AB0003" in told
            assert str(os.getpid()) in told
        _core.Log(path).close()

    def test_a_reader_writes_nothing(self, path):
        _core.Log(path).close()
        with _core.Log(path, mode="r") as log:
            for call in (
                lambda: log.append("t", 1),
                lambda: log.append_many([("t", 1)]),
                lambda: log.append_bytes("t", b""),
                log.sync,
                lambda: log._write_snapshot("a", 0, b"", 2),
            ):
                with pytest.raises(errors.StorageError):
                    call()
            assert log.mode == "r"

    def test_signature(self):
        names = list(inspect.signature(_core.Log).parameters)
        assert names[:2] == ["path", "mode"]
        assert {"durability", "sync_interval_ms", "recover", "sealing"} <= set(names)
        assert inspect.signature(_core.Log.append).parameters["expected_version"].default is ...


class TestClosing:
    """Closed by call, by with, by dropping it, by the end of the process."""

    def test_is_idempotent_and_leaves_a_clean_mark(self, path):
        log = _core.Log(path)
        log.append("t", 1)
        log.close()
        log.close()
        assert log.is_closed
        assert "closed" in repr(log)
        with _core.Log(path) as again:
            assert (again.recovery["clean"], again.recovery["events"], again.epoch) == (True, 1, 1)

    def test_every_call_on_a_closed_log_raises(self, path):
        log = _core.Log(path)
        log.close()
        calls = [
            lambda: log.append("t", 1),
            lambda: log.append_bytes("t", b""),
            lambda: log.append_many([("t", 1)]),
            lambda: log._publish("t", 1, "", *[None] * 7, _core.Expected.ANY, None),
            log.read,
            log.follow,
            log.sync,
            log.stats,
            log.verify,
            log.__enter__,
            lambda: log.wait(None, 0),
            lambda: log.wait_durable(0, 0),
            lambda: log.aggregate_version("a"),
            lambda: log._write_snapshot("a", 0, b"", 2),
            lambda: log._snapshots("a"),
            lambda: (log.first_seq,),
            lambda: (log.last_seq,),
            lambda: (log.durable_seq,),
            lambda: (log.epoch,),
        ]
        for call in calls:
            with pytest.raises(errors.LogClosedError) as raised:
                call()
            assert raised.value.path == str(path)
        assert (log.path, log.mode, log.poisoned) == (str(path), "rw", None)
        assert log.recovery["created"]
        assert len(log.log_id) == 36

    def test_with_closes_also_after_an_error(self, path):
        with pytest.raises(KeyError), _core.Log(path) as log:
            raise KeyError
        assert log.is_closed

    def test_a_dropped_log_releases_lock_and_threads(self, path):
        threads = thread_count()
        log = _core.Log(path)
        log.append("t", 1)
        assert thread_count() > threads
        del log
        gc.collect()
        with _core.Log(path) as again:
            assert again.recovery["clean"]
        assert thread_count() <= threads, "threads of earlier tests may have ended meanwhile"

    def test_a_log_in_a_cycle_is_collected(self, path):
        log = _core.Log(path)
        log._on_commit(lambda kept=log: kept.last_seq)
        gone = weakref.ref(log)
        del log
        gc.collect()
        assert gone() is None
        _core.Log(path).close()

    def test_the_end_of_the_process_loses_nothing(self, path):
        code = "import sys; from aresbus import _core; log = _core.Log(sys.argv[1]); log.append('t', 1)"
        child = python(code, path)
        assert child.communicate(timeout=60)[1] == ""
        assert child.returncode == 0
        with _core.Log(path) as log:
            assert log.last_seq == 0

    def test_subclasses_may_open_and_close_in_their_own_way(self, path):
        class Mine(_core.Log):
            def __new__(cls, path, *, extra=None, **options):
                log = super().__new__(cls, path, **options)
                log.extra = extra
                return log

            def close(self):
                closed.append(self.extra)
                super().close()

        closed = []
        with Mine(path, extra="more", durability="none") as log:
            assert (log.extra, log.append("t", 1).seq) == ("more", 0)
            assert weakref.ref(log)() is log
        assert closed == ["more"]
        assert log.is_closed

    def test_a_handle_does_not_pickle(self, path):
        with _core.Log(path) as log, pytest.raises(TypeError):
            pickle.dumps(log)


class TestReports:
    """Dicts with the names of aresbus.reports."""

    def test_statistics(self, path):
        with _core.Log(path, durability="none") as log:
            log.append_many([("t", at) for at in range(10)], aggregate_id="a")
            log.sync()
            stats = log.stats()
            assert stats.keys() == typing.get_type_hints(reports.LogStats).keys()
            assert stats["segments"][0].keys() == typing.get_type_hints(reports.SegmentStats).keys()
            expected = {
                "event_count": 10,
                "aggregate_count": 1,
                "appended": 10,
                "last_seq": 9,
                "durable_seq": 9,
            }
            assert {name: stats[name] for name in expected} == expected
            assert (stats["path"], stats["log_id"]) == (str(path), log.log_id)
            assert (stats["mode"], stats["durability"]) == ("rw", "none")
            assert (stats["healthy"], stats["problem"]) == (True, None)
            assert stats["sync_count"] >= 1

    def test_recovery_names_what_was_cut(self, path):
        code = """if True:
            import os, sys
            from aresbus import _core
            log = _core.Log(sys.argv[1])
            log.append("t", 1)
            log.sync()
            print(flush=True)
            os.kill(os.getpid(), 9)
        """
        child = python(code, path)
        child.communicate(timeout=60)
        segment = min((path / "segments").glob("*.log"))
        damaged = bytearray(segment.read_bytes())
        end = len(damaged.rstrip(b"\0")) // 8 * 8 + 8
        damaged[end + 8 : end + 16] = b"leftover"
        segment.write_bytes(damaged)
        with _core.Log(path) as log:
            report = log.recovery
            assert report.keys() == typing.get_type_hints(reports.RecoveryReport).keys()
            assert (report["created"], report["clean"], report["events"]) == (False, False, 1)
            assert report["cut"].keys() == typing.get_type_hints(reports.Cut).keys()
            assert report["cut"]["next_seq"] == 1
            assert log.epoch == report["epoch"] == 2
            assert next(log.read()).epoch == 1

    def test_verification_lists_findings(self, path):
        with _core.Log(path) as log:
            log.append("t", "x" * 1000)
        result = _core.verify(path)
        assert result.keys() == typing.get_type_hints(reports.VerifyResult).keys()
        assert (result["findings"], result["events"]) == ([], 1)
        segment = next((path / "segments").glob("*1.log"))
        damaged = bytearray(segment.read_bytes())
        damaged[damaged.index(b"xxxx")] ^= 1
        segment.write_bytes(damaged)
        (finding, *_) = _core.verify(str(path))["findings"]
        assert finding.keys() == typing.get_type_hints(reports.Finding).keys()
        assert finding["severity"] == "error"
        with pytest.raises(errors.CorruptionError) as raised:
            _core.Log(path)
        assert raised.value.path == str(segment)
        assert raised.value.offset > 0

    def test_snapshots_are_given_back_newest_first(self, path):
        with _core.Log(path) as log:
            log._write_snapshot("a", 1, b"one", 2)
            log._write_snapshot("a", 2, b"two", 2)
            log._write_snapshot("b", 3, bytearray(b"three"), 2)
            assert read_snapshots(log, "a") == [(2, b"two"), (1, b"one")]
            assert read_snapshots(log, "nobody") == []
            newest = max((path / "snapshots").iterdir(), key=lambda file: file.stat().st_mtime_ns)
            newest.write_bytes(newest.read_bytes()[:-1] + b"?")
            assert read_snapshots(log, "b") == [(3, None)]

    def test_the_module_says_what_it_is(self):
        assert (_core.MAX_TEXT_BYTES, _core.MAX_ID_BYTES, _core.FORMAT_VERSION) == (255, 1024, 1)
        assert _core.__version__.count(".") == 2


class TestClock:
    """The clock that tests move."""

    def test_stands_still_until_told(self):
        clock = _core.ManualClock()
        assert clock.time_ns() == 0
        clock.set_ns(5)
        clock.advance_ns(-10)
        assert (clock.time_ns(), repr(clock)) == (-5, "ManualClock(-5)")
        with pytest.raises(OverflowError):
            clock.set_ns(2**63)

    def test_is_the_log_s(self):
        clock = _core.ManualClock(1_000)
        with _core.Log(None, clock=clock) as log:
            log.append("t", 1)
            clock.advance_ns(-500)
            log.append("t", 1)
            assert [event.ts_ns for event in log.read()] == [1_000, 500]


class TestDurability:
    """What is durable when a call returns."""

    @pytest.mark.parametrize("mode", ["group", "always"])
    @pytest.mark.parametrize("per_append", [True, False])
    def test_group_and_always_return_durable(self, path, mode, per_append):
        with _core.Log(path, durability="none" if per_append else mode) as log:
            for at in range(5):
                receipt = log.append("t", at, durability=mode if per_append else None)
                assert log.durable_seq >= receipt.seq
            receipts = log.append_many([("t", 1)] * 3, durability=mode)
            assert log.durable_seq >= receipts[-1].seq

    def test_interval_becomes_durable_by_itself(self, path):
        with _core.Log(path, durability="interval", sync_interval_ms=1) as log:
            receipt = log.append("t", 1)
            assert log.wait_durable(receipt.seq, 30) is True
            assert log.wait_durable(receipt.seq + 1, 0.01) is False

    def test_sync_says_how_far(self, path):
        with _core.Log(path, durability="none") as log:
            assert log.sync() is None
            log.append("t", 1)
            assert log.sync() == 0 == log.durable_seq


INTERRUPTED = """if True:
    import signal, sys, threading, time
    from aresbus import _core
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = _core.Log(None)
    verbs = {
        "wait": lambda: log.wait(None),
        "wait_durable": lambda: log.wait_durable(5),
        "follow": lambda: next(log.follow()),
    }
    threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,)).start()
    start = time.monotonic()
    try:
        verbs[sys.argv[1]]()
    except KeyboardInterrupt:
        print("interrupted" if time.monotonic() - start < 5 else "late")
    print(log.append("t", 1).seq)
"""


@pytest.mark.parametrize("verb", ["wait", "wait_durable", "follow"])
def test_ctrl_c_ends_a_wait(verb):
    child = python(INTERRUPTED, verb)
    out, told = child.communicate(timeout=60)
    assert (out.split(), told) == (["interrupted", "0"], "")


def test_a_signal_handler_that_raises_ends_a_wait_with_its_own_error():
    class Alarm(Exception):  # noqa: N818 - the name says it
        pass

    def ring(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with _core.Log(None) as log, pytest.raises(Alarm):
            log.wait(None, 30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


FORKED = """if True:
    import os, sys, warnings
    warnings.simplefilter("ignore")  # from 3.12 on Python warns of forks beside threads; that is the subject here
    from aresbus import _core, errors
    os.register_at_fork(after_in_child=_core._forget_after_fork)
    path = sys.argv[1]
    log = _core.Log(path)
    log.append_many([("t", at) for at in range(1000)])
    events, follower = log.read(), log.follow()
    next(events), next(follower)
    if os.fork() == 0:
        refused = 0
        for call in (lambda: log.append("t", 1), log.read, log.sync, lambda: next(events), lambda: next(follower)):
            try:
                call()
            except errors.LogClosedError:
                refused += 1
        try:
            _core.Log(path)
        except errors.LogLockedError:
            refused += 1
        memory = _core.Log(None)
        memory.append("t", 1)
        log.close()
        del log, events, follower
        print(refused, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
    log.append("t", "after")
    try:
        _core.Log(path)
    except errors.LogLockedError:
        print("still locked")
    log.close()
    print(_core.Log(path).recovery["clean"])
"""


def test_a_fork_leaves_the_child_nothing_and_the_parent_everything(path):
    child = python(FORKED, path)
    out, told = child.communicate(timeout=60)
    assert (out.split("\n")[:3], told) == (["6", "still locked", "True"], "")


def test_a_fork_while_other_threads_append_blocks_nobody(path):
    code = """if True:
        import os, sys, threading, warnings
        warnings.simplefilter("ignore")
        from aresbus import _core
        os.register_at_fork(after_in_child=_core._forget_after_fork)
        log, stop = _core.Log(sys.argv[1]), threading.Event()

        def write():
            while not stop.is_set():
                log.append("t", "x" * 100)

        threads = [threading.Thread(target=write) for _ in range(3)]
        [thread.start() for thread in threads]
        for _ in range(20):
            if (child := os.fork()) == 0:
                del log
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        [thread.join() for thread in threads]
        log.close()
        print(_core.verify(sys.argv[1])["findings"])
    """
    child = python(code, path)
    out, told = child.communicate(timeout=120)
    assert (out, told) == ("[]\n", "")


def test_a_second_interpreter_is_refused():
    code = """if True:
        import aresbus._core, sys
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        inner = interpreters.create()
        program = f"import sys; sys.path[:] = {sys.path!r}\\nimport aresbus._core"
        try:
            told = interpreters.run_string(inner, program)
        except interpreters.RunFailedError as error:
            told = error
        print("interpreters" in str(told), "ImportError" in str(told))
    """
    out, told = python(code).communicate(timeout=60)
    assert out == "True True\n", told


def test_the_gil_is_free_while_a_sync_runs(path):
    with _core.Log(path) as log:
        stop, count = threading.Event(), 0

        def sync():
            while not stop.is_set():
                log.append("t", "x" * 10_000, durability="always")

        thread = threading.Thread(target=sync)
        thread.start()
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            count += 1
        stop.set()
        thread.join()
        assert count > 1000
