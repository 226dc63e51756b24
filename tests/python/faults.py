"""Tests whose calls to the operating system fail: each body runs in a process of its own, under the shim of tests/shim.

Owns the shim's building, the decorator :func:`with_faults`, and :class:`Faults`, which arms it, or lets a process end before any of
the calls by which files and names change, or has these written down. A test that is decorated
takes ``faults``, and fixtures and parameters that are paths or that JSON can express; it asserts as any other test does.
Run as ``python faults.py MODULE TEST ARGUMENTS``.
"""

import atexit
import ctypes
import errno
import functools
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "shim" / "faults.c"
PATIENCE_SECONDS = 120
FOR_GOOD = -1
SKIPPED = 77
HALF = 0
"""Instead of an errno: reads and writes are short."""


@functools.cache
def shim() -> Path:
    """The shim, compiled once for a run; a machine that builds the engine has a C compiler."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    built = Path(folder.name) / "faults.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", built, SOURCE, "-ldl", "-pthread"]
    subprocess.run(command, check=True)
    return built


def with_faults(test):
    """Run the test in a process that has the shim."""
    signature = inspect.signature(test)

    @functools.wraps(test)
    def run(**arguments):
        plain = {
            name: {"$path": str(value)} if isinstance(value, Path) else value
            for name, value in arguments.items()
        }
        command = [
            sys.executable,
            __file__,
            Path(test.__code__.co_filename).stem,
            test.__name__,
            json.dumps(plain),
        ]
        done = subprocess.run(
            command,
            env={**os.environ, "LD_PRELOAD": str(shim())},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        if done.returncode == SKIPPED:
            pytest.skip(done.stdout)
        if done.returncode:
            pytest.fail(
                f"ended with {done.returncode} under the shim\n{done.stdout}{done.stderr}", pytrace=False
            )

    others = [one for name, one in signature.parameters.items() if name != "faults"]
    run.__signature__ = signature.replace(parameters=others)
    return run


class Faults:
    """The shim of this process."""

    def __init__(self) -> None:
        self._shim = ctypes.CDLL(None)

    def arm(
        self, call: str, path: str = "", *, skip: int = 0, count: int = FOR_GOOD, error: int = errno.EIO
    ) -> None:
        """Let ``skip`` calls on paths with ``path`` in them pass and fail ``count``; ``*`` is any call."""
        self._shim.fault_arm(
            call.encode(), str(path).encode(), ctypes.c_long(skip), ctypes.c_long(count), error
        )

    def delay(self, call: str, path: str, milliseconds: int, *, count: int = 1) -> None:
        """Let ``count`` syncs, ``fdatasync`` or ``fsync``, take so long, and then succeed."""
        self.arm(call, path, count=count, error=-milliseconds)

    def disarm(self) -> None:
        self.arm("")

    @contextmanager
    def armed(self, *call, **how):
        """Armed for the body only."""
        self.arm(*call, **how)
        try:
            yield
        finally:
            self.disarm()

    @property
    def failed(self) -> int:
        """Calls that were made to fail since the last arming."""
        return self._shim.fault_failed()

    def killed_at(self, change: int, path: Path, act: Callable[[], object]) -> bool:
        """Do it in a process that is killed before that change to anything below ``path``; whether it came so far.

        Changes are creations, writes, syncs, links, renames and removals; those by a mapping are not seen.
        """
        child = os.fork()
        if child == 0:
            status = 1
            try:
                self._shim.fault_watch(str(path).encode(), ctypes.c_long(change), -1)
                act()
                status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in {0, -signal.SIGKILL}, f"it ended with {status}"
        return status != 0

    @contextmanager
    def recorded(self, path: Path) -> Iterator[list[list[str]]]:
        """The changes to anything below ``path`` in the body, once it is over: call, path, second path or ""."""
        changes: list[list[str]] = []
        with tempfile.TemporaryFile("w+") as record:
            self._shim.fault_watch(str(path).encode(), ctypes.c_long(-1), record.fileno())
            try:
                yield changes
            finally:
                self._shim.fault_watch(b"", ctypes.c_long(-1), -1)
            record.seek(0)
            changes += [line.rstrip("\n").split("\t") for line in record]

    def refuse(self, call: str, error: int, *, argument: int = -1, bits: int = 0) -> None:
        """From now on the kernel itself refuses fallocate, flock, mmap or madvise in this process."""
        number = self._shim.fault_number(call.encode())
        assert number >= 0
        self._check_filter(self._shim.fault_refuse(number, argument, bits, error))

    def pretend(self, path: str | Path, magic: int) -> None:
        """From now on the kernel says that paths with ``path`` in them lie on a file system of that magic number.

        To this thread and those that it starts.
        """
        self._check_filter(self._shim.fault_pretend(str(path).encode(), ctypes.c_long(magic)))

    @staticmethod
    def _check_filter(answer: int) -> None:
        if answer:
            print(f"the kernel takes no seccomp filter here: {os.strerror(answer)}")
            sys.exit(SKIPPED)


def main(module: str, name: str, arguments: str) -> None:
    values = {
        key: Path(value["$path"]) if isinstance(value, dict) and "$path" in value else value
        for key, value in json.loads(arguments).items()
    }
    test = getattr(importlib.import_module(module), name)
    test.__wrapped__(faults=Faults(), **values)


if __name__ == "__main__":
    main(*sys.argv[1:])
