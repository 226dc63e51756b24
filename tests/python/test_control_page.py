"""Readers in other processes sleep on the control page and are woken; whatever becomes of page or reader, no event is missed.

Real processes, real files. What a page has to do with is time alone, so most tests ask for every event, in order, after
something was done to it; that a wake came by the page is seen in its bell.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import aresbus
import pytest
from control_support import BELL, FUTEX, SHARED, SLEEPERS, Child, child, is_asleep, page_of, until, word

SMALL = {"segment_bytes": 64 * 1024, "audit": False}
READERS = ["follow", "bus"]

pytestmark = pytest.mark.skipif(not os.access(SHARED, os.W_OK), reason="no writable /dev/shm here")


@pytest.fixture
def log(tmp_path):
    """A writer, and beside it whoever a test starts."""
    with aresbus.open(tmp_path / "log", audit=False) as writer:
        yield writer


def append(log: aresbus.Log) -> str:
    return str(log.append("tick", 0).seq)


def sleeping(reader: Child, page: Path) -> None:
    until(lambda: is_asleep(reader.pid, page))


def wakes_for_an_event(log, reader, page):
    """A reader that sleeps is given the next event, and the bell was rung for it."""
    sleeping(reader, page)
    rung = word(page, BELL)
    assert append(log) == reader.line()
    until(lambda: word(page, BELL) > rung)


@pytest.mark.parametrize("role", READERS)
def test_a_reader_sleeps_and_the_bell_wakes_it_for_each_event(log, role):
    page = page_of(log.path)
    with child(role, log.path, 20) as reader:
        reader.ready()
        for _ in range(21):
            wakes_for_an_event(log, reader, page)
        assert reader.wait() == 0


def test_a_writer_that_seldom_syncs_wakes_its_first_sleeper_too(tmp_path):
    with aresbus.open(tmp_path / "log", audit=False, sync_interval_ms=3_600_000) as log:
        page = page_of(log.path)
        with child("follow", log.path, 2) as reader:
            reader.ready()
            for _ in range(3):
                wakes_for_an_event(log, reader, page)
            assert reader.wait() == 0


def test_the_page_is_ours_alone_and_goes_with_the_last_who_uses_it(tmp_path):
    with aresbus.open(tmp_path / "log", audit=False) as writer:
        page = page_of(writer.path)
        assert (page.stat().st_mode & 0o777, page.stat().st_size) == (0o600, 4096)
        with child("follow", writer.path, 0) as reader:
            sleeping(reader.ready(), page)
            writer.close()
            assert page.exists()
            with aresbus.open(tmp_path / "log", audit=False) as second:
                sleeping(reader, page)
                assert append(second) == reader.line()
            assert reader.wait() == 0
    assert not page.exists()


def test_a_reader_sleeps_through_the_death_of_its_writer_and_the_next_one_wakes_it(tmp_path):
    dying = """if True:
        import aresbus, sys
        log = aresbus.open(sys.argv[1], audit=False)
        log.append("tick", 0)
        print("ready", flush=True)
        sys.stdin.read()
    """
    for round_ in range(3):
        command = [sys.executable, "-c", dying, str(tmp_path / "log")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            page = page_of(tmp_path / "log")
            with child("follow", tmp_path / "log", 2 * round_ + 1) as reader:
                reader.ready()
                assert [reader.line() for _ in range(2 * round_ + 1)][-1] == str(2 * round_)
                sleeping(reader, page)
                writer.kill()
                writer.wait()
                with aresbus.open(tmp_path / "log", audit=False) as following:
                    assert append(following) == reader.line()
                assert reader.wait() == 0


@pytest.mark.timeout(180)
def test_several_readers_follow_through_thousands_of_rolls():
    events, payload = 4_000, bytes(30_000)
    with (
        tempfile.TemporaryDirectory(dir=SHARED) as folder,
        aresbus.open(Path(folder, "log"), durability="none", **SMALL) as writer,
        child("follow_quietly", writer.path, events - 1) as first,
        child("follow_quietly", writer.path, events - 1) as second,
        child("follow_quietly", writer.path, events - 1) as third,
    ):
        readers = [first.ready(), second.ready(), third.ready()]
        for number in range(events):
            writer.append_bytes("tick", payload)
            if number % 500 == 0:  # now and then all of them sleep
                for reader in readers:
                    sleeping(reader, page_of(writer.path))
        assert writer.stats()["roll_count"] > events // 2 - 10
        for reader in readers:
            assert reader.line() == str(events - 1)
            assert reader.wait() == 0


@pytest.mark.timeout(180)
def test_readers_that_are_killed_at_any_moment_harm_nobody(log):
    seed, kills = random.SystemRandom().randrange(10**9), 200
    print(f"seed {seed}")
    rng, stop = random.Random(seed), threading.Event()
    page, appended = page_of(log.path), []

    def write() -> None:
        while not stop.wait(rng.choice([0, 0.001, 0.02])):
            appended.append(append(log))
        appended.append(append(log))

    with child("follow", log.path, 10**9) as steady, child("nursery", log.path, kills, seed) as killer:
        steady.ready()
        writing = threading.Thread(target=write)
        writing.start()
        try:
            assert killer.line() == "done"
            assert killer.wait() == 0
        finally:
            stop.set()
            writing.join()
        assert [steady.line() for _ in appended] == appended
        sleeping(steady, page)
    assert_the_ringer_rests(page)


def assert_the_ringer_rests(page: Path) -> None:
    """It sleeps until somebody calls: who was killed asleep is forgotten."""
    tasks = [task for task in Path("/proc/self/task").iterdir() if _name(task) == "aresbus-ringer"]
    assert tasks
    until(lambda: word(page, SLEEPERS) == 0)
    until(lambda: all((task / "syscall").read_text().startswith(FUTEX) for task in tasks))


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text().strip()
    except FileNotFoundError:
        return ""


def delete(page: Path) -> None:
    page.unlink()


def truncate(page: Path) -> None:
    os.truncate(page, 0)


def cut(page: Path) -> None:
    os.truncate(page, 40)


def overwrite(page: Path) -> None:
    with page.open("r+b") as file:
        file.write(random.Random(0).randbytes(4096))


def fill(page: Path) -> None:
    with page.open("r+b") as file:
        file.write(b"\xff" * 4096)


def erase(page: Path) -> None:
    with page.open("r+b") as file:
        file.write(bytes(4096))


def link(page: Path) -> None:
    target = page.with_name(f"{page.name}-target")
    target.write_bytes(page.read_bytes())
    page.unlink()
    page.symlink_to(target)


def exchange(page: Path) -> None:
    """A copy in its place: a page on which nobody rings."""
    content = page.read_bytes()
    page.unlink()
    page.write_bytes(content)


def take_from_another_log(page: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        aresbus.open(Path(folder, "other"), audit=False) as other,
        page.open("r+b") as file,
    ):
        file.write(page_of(other.path).read_bytes())


HARMS = [delete, truncate, cut, overwrite, fill, erase, link, exchange, take_from_another_log]


@pytest.fixture
def swept():
    """Nothing of a test stays in /dev/shm."""
    before = set(SHARED.glob("aresbus-*"))
    yield
    for left in set(SHARED.glob("aresbus-*")) - before:
        left.unlink()


@pytest.mark.parametrize(
    ("harm", "role"),
    [*((harm, "follow") for harm in HARMS), (delete, "bus"), (truncate, "bus"), (fill, "bus")],
)
def test_what_somebody_does_to_the_page_costs_time_and_nothing_else(tmp_path, harm, role, swept):
    with aresbus.open(tmp_path / "log", audit=False) as log:
        page = page_of(log.path)
        with child(role, log.path, 9) as reader:
            sleeping(reader.ready(), page)
            assert append(log) == reader.line()
            sleeping(reader, page)
            harm(page)
            for _ in range(8):
                assert append(log) == reader.line()
            with child("follow", log.path, 9) as late:
                late.ready()
                assert [late.line() for _ in range(9)] == list(map(str, range(9)))
                assert append(log) == late.line() == reader.line()
                assert (late.wait(), reader.wait()) == (0, 0)


@pytest.mark.parametrize("harm", HARMS)
def test_the_next_writer_has_a_page_whatever_was_left_there(tmp_path, harm, swept):
    with aresbus.open(tmp_path / "log", audit=False) as log:
        page = page_of(log.path)
        with child("follow", log.path, 1) as reader:
            sleeping(reader.ready(), page)
            harm(page)
            assert append(log) == reader.line()
            log.close()
            with (
                aresbus.open(tmp_path / "log", audit=False) as following,
                child("follow", following.path, 1) as late,
            ):
                assert late.ready().line() == "0"
                sleeping(late, page)
                assert append(following) == late.line() == reader.line()
                assert (late.wait(), reader.wait()) == (0, 0)


IN_A_CONTAINER = ("unshare", "--mount", "sh", "-c")


def container(prepare: str) -> tuple[str, ...]:
    """The beginning of a command that runs with a /dev/shm of its own."""
    script = f'mount -t tmpfs none /dev/shm && {prepare} && exec "$@"'
    probe = subprocess.run([*IN_A_CONTAINER, script, "sh", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mount namespace of one's own here: {probe.stderr.decode().strip()}")
    return (*IN_A_CONTAINER, script, "sh")


@pytest.mark.parametrize("role", READERS)
def test_a_reader_in_another_container_does_without_the_page(log, role):
    with child(role, log.path, 4, before=container("true")) as reader:
        reader.ready()
        for _ in range(5):
            assert append(log) == reader.line()
        assert reader.wait() == 0


@pytest.mark.parametrize("role", READERS)
def test_a_reader_whose_page_is_a_copy_is_slower_and_misses_nothing(log, role, tmp_path):
    page = page_of(log.path)
    (tmp_path / "copy").write_bytes(page.read_bytes())
    prepare = f"cp {tmp_path / 'copy'} {page} && chmod 600 {page}"
    with child(role, log.path, 4, before=container(prepare)) as reader:
        reader.ready()
        for _ in range(5):
            assert append(log) == reader.line()
        assert reader.wait() == 0


def test_where_dev_shm_cannot_be_written_to_writer_and_reader_do_without(tmp_path):
    script = """if True:
        import aresbus, sys
        from control_support import SHARED, child
        with aresbus.open(sys.argv[1], audit=False) as log, child("follow", log.path, 4) as reader:
            reader.ready()
            for _ in range(5):
                assert str(log.append("tick", 0).seq) == reader.line()
            assert reader.wait() == 0
            assert not list(SHARED.iterdir())
    """
    command = [
        *container("mount -o remount,ro /dev/shm"),
        sys.executable,
        "-c",
        script,
        str(tmp_path / "log"),
    ]
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_a_reader_that_sleeps(log):
    with child("follow", log.path, 0) as reader:
        sleeping(reader.ready(), page_of(log.path))
        os.kill(reader.pid, signal.SIGINT)
        assert "KeyboardInterrupt" in reader.process.stderr.read()


def test_a_fork_leaves_the_page_to_its_parent(tmp_path):
    script = """if True:
        import aresbus, os, sys
        sys.path.insert(0, sys.argv[2])
        from control_support import child, is_asleep, page_of, until
        with aresbus.open(sys.argv[1], audit=False) as log, child("follow", log.path, 1) as reader:
            page = page_of(log.path)
            reader.ready()
            assert str(log.append("tick", 0).seq) == reader.line()
            forked = os.fork()
            if forked == 0:
                log.close()
                del log
                os._exit(0 if page.exists() else 1)
            assert os.waitpid(forked, 0)[1] == 0
            assert page.exists()
            until(lambda: is_asleep(reader.pid, page))
            assert str(log.append("tick", 0).seq) == reader.line()
            assert reader.wait() == 0
    """
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        script,
        str(tmp_path / "log"),
        str(Path(__file__).parent),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
