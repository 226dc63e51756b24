"""What the tests of the bad day share: typed errors held to their promise, logs to damage, file systems to fill.

Owns no test. A file system of our own needs root and the right to mount; where that is refused the test says so and is
skipped.
"""

import io
import pickle
import subprocess
import sys
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import aresbus
import pytest
from aresbus.cli import main
from aresbus.cli.pages import PAGES

CHILDREN = str(Path(__file__).with_name("bad_day_children.py"))
PATIENCE_SECONDS = 30
"""A child that takes longer hangs."""
FIRST_SEGMENT = "0000000000000001.log"
RECORDS_OFFSET = 3 * 4096
"""Where the first record of a segment stands (docs/format.md)."""


def check_error(error, kind, *names, **fields):
    """The very class, its code and advice in the text, each of ``names`` too, the fields, and a page that explains it."""
    assert type(error) is kind
    text = str(error)
    assert text.startswith(f"[{kind.code}] ")
    assert text.endswith(kind.advice)
    assert kind.code in PAGES
    for name in names:
        assert str(name) in error.message
    for name, value in fields.items():
        assert getattr(error, name) == value, name
    again = pickle.loads(pickle.dumps(error))
    assert {name: getattr(again, name) for name in kind.FIELDS} == {
        name: getattr(error, name) for name in kind.FIELDS
    }


@contextmanager
def refused(kind, *names, **fields):
    """The body raises just this error; see :func:`check_error`."""
    with pytest.raises(kind) as caught:
        yield caught
    check_error(caught.value, kind, *names, **fields)


def make_log(path, count=5, *, padding=0, **options) -> Path:
    """A closed log of ``count`` events of the aggregate "a": the data is the number, or a list of it and padding."""
    with aresbus.open(path, **options) as log:
        for number in range(count):
            log.append("note", [number, "x" * padding] if padding else number, aggregate_id="a")
    return Path(path)


def numbers(path, **options) -> list:
    """What a reader finds in the log."""
    with aresbus.open(path, mode="r", **options) as log:
        return [event.data for event in log.read()]


def first_segment(path) -> Path:
    """The file of the log's first segment."""
    return Path(path, "segments", FIRST_SEGMENT)


def contents(path) -> dict[str, bytes]:
    """Every file of a log but LOCK, which names its last holder, and the audit log: name to bytes."""
    files = (file for file in sorted(Path(path).rglob("*")) if file.is_file())
    names = {file: str(file.relative_to(path)) for file in files}
    return {
        name: file.read_bytes()
        for file, name in names.items()
        if name != "LOCK" and not name.startswith("audit/")
    }


def flip(path, offset, bit=0) -> None:
    """Turn one bit over in place: a process that has the file mapped sees it."""
    with Path(path).open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def aresbus_command(*arguments) -> subprocess.CompletedProcess[str]:
    """One command line, to its end, in this process: a third of a second less."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(one) for one in arguments])
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return subprocess.CompletedProcess(arguments, code, *texts)


def aresbus_process(*arguments) -> subprocess.CompletedProcess[str]:
    """One command line, to its end, in a process of its own."""
    command = [sys.executable, "-m", "aresbus", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


@contextmanager
def child(act, *arguments, script=CHILDREN, **options):
    """A process that does one act of bad_day_children.py, or of another script; it is gone when this is left."""
    command = [sys.executable, script, act, *map(str, arguments)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process) -> str:
    """The next line that a child says; its end before that fails the test."""
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return line.rstrip("\n")


def heard_out(process) -> tuple:
    """What a child says from here to its end, and on stderr; one that does not end in time is killed.

    ``communicate`` passes over what the reader of its lines has read ahead: what it gives may begin within a line.
    """
    watch = threading.Timer(PATIENCE_SECONDS, process.kill)
    watch.start()
    try:
        if process.stdin is not None:
            process.stdin.close()
        out, err = process.stdout.read(), process.stderr.read()
        process.wait()
    finally:
        watch.cancel()
    return out, err


class Mount:
    """A tmpfs of its own."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir()
        made = _mount("-t", "tmpfs", "-o", f"size={size}", "none", str(path))
        if made.returncode:
            pytest.skip(f"no right to mount a file system here: {made.stderr.strip()}")

    def make_read_only(self) -> None:
        self._remount("ro")

    def make_writable(self) -> None:
        self._remount("rw")

    def _remount(self, how: str) -> None:
        done = _mount("-o", f"remount,{how}", str(self.path))
        assert done.returncode == 0, done.stderr

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


def _mount(*arguments):
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 1, stderr="there is no mount command")
