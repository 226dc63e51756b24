"""Heads that leave the machine's reach: every so often the newest one goes to a file, to syslog, or to a command.

Owns when that happens, how, and the count of what went wrong. What a head is, is evidence's. Invariants: an append never
waits for an anchor and never fails with it; a head that says nothing new is not written again; the log is held weakly, so
that a dropped one is released.
"""

import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aresbus.durable_files import sync_folder
from aresbus.errors import AresbusError, ConfigError, LogClosedError
from aresbus.evidence import TreeHead

__all__ = ["AnchorReport", "AnchorTo", "Anchoring"]

logger: logging.Logger = logging.getLogger(__name__)

USER_NOTICE = 13
"""Facility user, severity notice: RFC 3164 section 4.1.1."""
SHOWN_BYTES = 500
"""So much of what a failing command said becomes part of the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorTo:
    """Where the heads of a log go: to any of a file, syslog and a command, at the opening, every ``every_minutes`` and at close.

    ``file``: a line of JSON is appended and synced; it has to lie outside the log. ``syslog``: the path of the local socket,
    usually "/dev/log". ``command``: a program and its arguments, run without a shell, the line on its stdin; after
    ``timeout`` seconds it is killed. Each line also says ``at_ns``, when it was written. Raises ConfigError.
    """

    file: str | os.PathLike[str] | None = None
    syslog: str | None = None
    command: Sequence[str] | None = None
    every_minutes: float = 10.0
    timeout: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what could never work, all of it at once."""
        problems = []
        numbers: dict[str, Any] = {"every_minutes": self.every_minutes, "timeout": self.timeout}
        if self.file is None and self.syslog is None and self.command is None:
            problems.append("anchor_to: names no file, no syslog and no command")
        if self.command is not None and (isinstance(self.command, str) or not list(self.command)):
            problems.append(f"anchor_to: command is a list of texts, got {self.command!r}")
        problems += [
            f"anchor_to: {name} is a number above 0, got {value!r}"
            for name, value in numbers.items()
            if isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < threading.TIMEOUT_MAX / 60
        ]
        if problems:
            raise ConfigError("; ".join(problems), problems=problems)

    def refuse_inside(self, log_path: str | os.PathLike[str]) -> None:
        """A file inside the log's folder would change with it. Raises ConfigError."""
        if self.file is not None and Path(self.file).resolve().is_relative_to(Path(log_path).resolve()):
            problem = (
                f"anchor_to: {os.fspath(self.file)} lies inside the log: whoever changes one changes both"
            )
            raise ConfigError(problem, problems=[problem])

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "file": None if self.file is None else os.fspath(self.file),
            "syslog": self.syslog,
            "command": None if self.command is None else list(self.command),
            "every_minutes": self.every_minutes,
            "timeout": self.timeout,
        }


@dataclass(frozen=True, slots=True)
class AnchorReport:
    """What became of the anchors of one handle: how many were stored everywhere, how many tries failed, and why the last did.

    ``problem`` is None while the last try went well. ``head`` is the newest that is stored.
    """

    stored: int = 0
    failed: int = 0
    problem: str | None = None
    head: TreeHead | None = None


@dataclass(slots=True)
class _Target:
    """One place, the newest head it has, and how it takes another."""

    name: str
    store: Callable[[str], None]
    newest: TreeHead | None = None


@dataclass(slots=True)
class Anchoring:
    """Stores the heads of one log from a thread of its own."""

    to: AnchorTo
    report: AnchorReport = field(default_factory=AnchorReport)
    _targets: list[_Target] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Nothing is stored yet."""
        to = self.to
        if to.file is not None:
            path = Path(to.file).absolute()  # also after the process changed its folder
            self._targets.append(_Target(str(path), lambda line: append_line(path, line)))
        if to.syslog is not None:
            address = to.syslog
            self._targets.append(_Target(f"syslog at {address}", lambda line: _say(address, line)))
        if to.command is not None:
            command, timeout = list(to.command), to.timeout
            self._targets.append(_Target(command[0], lambda line: _run(command, line, timeout)))

    def begin(self, log: Any) -> None:
        """Start the thread. ``log`` has ``head()`` and is held weakly."""
        reference = weakref.ref(log, lambda _: self._is_over.set())
        threading.Thread(target=self._keep_on, args=(reference,), name="aresbus-anchor", daemon=True).start()

    def end(self, log: Any) -> None:
        """A last anchor of everything that is committed, before ``log`` is closed. Never raises; waits for a running one."""
        self._is_over.set()
        try:
            log.sync()
        except (AresbusError, OSError) as error:
            self._failed(f"the log could not be synced: {error}", self.report.head)
        self.store(log)

    def _keep_on(self, reference: "weakref.ref[Any]") -> None:
        while True:
            log = reference()
            if log is None or self._is_over.is_set():
                return
            self.store(log)
            del log
            if self._is_over.wait(self.to.every_minutes * 60):
                return

    def store(self, log: Any) -> None:
        """Store the newest head wherever it is not yet; what fails is counted and tried again next time."""
        with self._turn:
            try:
                head: TreeHead = log.head()
            except LogClosedError:
                return  # by close(), whose own anchor came before, or in a forked child
            except (AresbusError, OSError) as error:
                self._failed(f"the head could not be made: {error}", self.report.head)
                return
            self._store(head)

    def _store(self, head: TreeHead) -> None:
        line = json.dumps({**head.to_dict(), "at_ns": time.time_ns()})
        waiting = [one for one in self._targets if one.newest != head]
        problems = []
        for target in waiting:
            try:
                target.store(line)
                target.newest = head
            except (OSError, ValueError) as error:
                problems.append(f"{target.name}: {error}")
        if problems:
            self._failed("; ".join(problems), self.report.head)
        elif waiting:
            self.report = AnchorReport(self.report.stored + 1, self.report.failed, None, head)

    def _failed(self, problem: str, head: TreeHead | None) -> None:
        self.report = AnchorReport(self.report.stored, self.report.failed + 1, problem, head)
        logger.warning("no anchor was stored: %s", problem)


def append_line(path: Path, line: str) -> None:
    """Append a line; durable on return. A last line that its writer did not finish is ended first. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        begin = "\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else ""
        content = f"{begin}{line}\n".encode()
        if os.write(descriptor, content) != len(content):
            raise OSError(f"{path} took a part of the line only")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not size:
        sync_folder(path.parent)


def _say(address: str, line: str) -> None:
    import socket  # noqa: PLC0415 - as in _run

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.connect(address)
        door.send(f"<{USER_NOTICE}>aresbus: {line}".encode())


def _run(command: list[str], line: str, timeout: float) -> None:
    # Who opens a log need not wait for what only this target needs.
    import subprocess  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    # A file, not a pipe: what a killed command has started may hold a pipe open for ever.
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(  # noqa: S603 - the user's own command, without a shell
                command,
                input=f"{line}\n".encode(),
                stdout=subprocess.DEVNULL,
                stderr=said,
                timeout=timeout,
                check=False,
            )
        except BrokenPipeError:
            raise OSError("it did not read what it was given") from None
        except subprocess.TimeoutExpired:
            raise OSError(f"it was killed after {timeout} s") from None
        if done.returncode:
            said.seek(0)
            text = said.read(SHOWN_BYTES).decode(errors="replace").strip()
            raise OSError(f"exit code {done.returncode}{': ' if text else ''}{text}")
