"""A directory that somebody filled with the wrong things: each command ends, in bounded memory, with what it could do.

Opening a log whose own files are none of the kind is test_bad_day_stray.py's; this is about everything that lies beside them.
HOSTILE=1 puts every thing in every place before every command, which takes minutes.
"""

import os
import subprocess
import sys
from pathlib import Path

import aresbus
import pytest
from aresbus import CorruptionError, ManualClock, RetentionPolicy
from bad_day_support import aresbus_command, contents, first_segment, make_log, numbers, refused
from bus_support import TRADE, make_bus, run
from test_retention import NOW_NS, drained, filled, opened, sealed

CHILDREN = str(Path(__file__).with_name("hostile_children.py"))
PATIENCE_SECONDS = 300
THINGS = ("as_fifo", "as_sparse", *(("as_zeros", "as_empty") if os.environ.get("HOSTILE") else ()))
EVIL = b"evil\nname\x1b[31m\x07"
NO_TEXT = b"no \xff\xfe text"
FOLDERS = (
    *("", "segments", "snapshots", "subscriptions", "schemas", "heads", "footers", "quarantine", "holds"),
    "audit",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A closed log that has one of everything: sealed segments and raw ones, some expired, snapshots, schemas, a hold, a
    durable subscription, an audit trail of a reader.
    """
    path = tmp_path_factory.mktemp("hostile") / "log"
    with opened(path, ManualClock(NOW_NS)) as log:
        filled(log, 400)
        sealed(log)
        drained(log, RetentionPolicy(max_events=250))

    async def live():
        async with make_bus(path, event_ttl_days=0) as bus:
            bus.subscribe("trade_executed", lambda _: None, name="desk")
            for _ in range(5):
                await bus.publish("trade_executed", TRADE, aggregate_id="o-1")
            await bus.take_snapshot("o-1")

    run(live())
    assert aresbus_command("hold add", path, "case", "--reason", "asked for").returncode == 0
    with aresbus.open(path, mode="r") as reader, reader.act("looked"):
        pass
    return path


def places_in(base) -> list[str]:
    """One file or folder of each kind, and names that a segment to come may have."""
    patterns = (
        *(
            "LOCK",
            "META",
            "holds",
            "holds/holds.json",
            "holds/LOCK",
            "schemas",
            "schemas/*",
            "heads",
            "heads/*",
        ),
        *("footers", "footers/*", "segments/*.idx", "segments/*.seg", "segments/*.log", "snapshots"),
        *("snapshots/*", "subscriptions", "subscriptions/*", "subscriptions/*/META", "audit", "audit/META"),
        *("audit/*-*", "audit/*-*/META"),
    )
    found = [max(base.glob(pattern)).relative_to(base).as_posix() for pattern in patterns]
    return [
        *found,
        *(f"segments/0000000000000099.{ending}" for ending in ("log", "seg", "idx", "tmp")),
        *("META.tmp", "quarantine", "subscriptions/notes.txt"),
    ]


@pytest.mark.parametrize("thing", THINGS)
def test_whatever_stands_there_every_command_ends(base, thing):
    command = [sys.executable, CHILDREN, str(base), thing, *places_in(base)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired as hanging:
        raise AssertionError(f"it hangs in {(hanging.stdout or b'').splitlines()[-1:]}") from None
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr[-2_000:])
    said = done.stdout.splitlines()
    for what, ended in zip(said[::2], said[1::2], strict=True):
        assert ended[0] in "012", (what, ended)
        assert "bug in aresbus" not in ended, (what, ended)


def test_foreign_names_of_every_kind_are_passed_over_and_steer_no_terminal(base, tmp_path):
    """Also by backup and restore, whose manifest is text."""
    path = tmp_path / "log"
    assert aresbus_command("backup", base, tmp_path / "first").returncode == 0
    assert aresbus_command("restore", tmp_path / "first", path).returncode == 0
    for folder in FOLDERS:
        (path / folder).mkdir(exist_ok=True)
        for name in (EVIL, NO_TEXT):
            Path(os.fsdecode(bytes(path / folder) + b"/" + name)).touch()
            Path(os.fsdecode(bytes(path / folder) + b"/in " + name)).mkdir()
    commands = (
        *(
            ("info",),
            ("verify",),
            ("subscriptions",),
            ("snapshots list",),
            ("schema", "list"),
            ("hold list",),
        ),
        *(("audit",), ("retention plan", "--days", "1"), ("retention apply", "--days", "1"), ("tail",)),
    )
    for verb, *more in commands:
        done = aresbus_command(verb, *(["list", path] if more == ["list"] else [path, *more]))
        assert (done.returncode, done.stderr) == (0, ""), verb
        assert "\x1b" not in done.stdout, verb
        assert "\x07" not in done.stdout, verb
    assert aresbus_command("doctor", path).returncode in {0, 1}
    done = aresbus_command("backup", path, tmp_path / "backup")
    assert (done.returncode, done.stderr) == (0, "")
    done = aresbus_command("restore", tmp_path / "backup", tmp_path / "restored")
    assert (done.returncode, done.stderr) == (0, "")
    assert aresbus_command("verify", tmp_path / "restored").returncode == 0


def test_an_error_that_names_such_a_file_is_one_line_and_steers_no_terminal(tmp_path):
    place = tmp_path / os.fsdecode(EVIL)
    place.write_text("no log")
    for verb in ("read", "verify", "tail"):
        done = aresbus_command(verb, place)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr


def test_thousands_of_foreign_files_cost_a_listing(tmp_path):
    path = make_log(tmp_path / "log")
    for number in range(1_000):
        (path / f"note {number}").touch()
        (path / "segments" / f"{number}.bak").touch()
    with aresbus.open(path) as log:
        assert len(log.recovery["stray_files"]) == 2_000
        log.append("note", 5)
    assert numbers(path) == [0, 1, 2, 3, 4, 5]


def test_a_link_to_another_logs_segment_is_refused_and_that_log_left_alone(tmp_path):
    mine, other = make_log(tmp_path / "mine"), make_log(tmp_path / "other")
    before = contents(other)
    first_segment(mine).unlink()
    first_segment(mine).symlink_to(first_segment(other))
    for mode in ("r", "rw"):
        with refused(CorruptionError, first_segment(mine), "another log"):
            aresbus.open(mine, mode=mode)
    assert aresbus_command("verify", mine).returncode == 1
    assert aresbus_command("repair", mine, "--accept-loss").returncode in {0, 2}
    assert contents(other) == before
