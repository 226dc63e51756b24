"""The demo's hold on its recorder: start it, listen to its acknowledgements, kill it.

Owns the process and the pipe. Invariants: however it is left, the process is gone and reaped; the recorder is never more
than one small pipe ahead of what was heard, so that a kill meets it at work.
"""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aresbus
from aresbus.cli.recorder import ACKNOWLEDGEMENT

__all__ = ["Recorder"]

PIPE_BYTES = 4096
"""512 acknowledgements; the smallest pipe Linux makes."""


class Recorder:
    """A recorder process; a context manager. ``acknowledged`` counts the events it said are stored."""

    def __init__(self, log: Path) -> None:
        self._listen, speak = os.pipe()
        fcntl.fcntl(speak, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        # -P and the path: the child must find this very package, and nothing that lies about in the current folder.
        paths = [str(Path(aresbus.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        output, report = os.pipe()
        self._output = os.fdopen(output, "rb")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "aresbus.cli.recorder", str(log), str(speak)],
            stdin=subprocess.DEVNULL,
            stdout=report,
            pass_fds=(speak,),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        # Else the pipes would never end, with this process holding their other ends.
        os.close(report)
        os.close(speak)
        self.acknowledged: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
        os.close(self._listen)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def listen(self, until: int | None = None) -> None:
        """Take acknowledgements until there are ``until`` of them; None: until the recorder is gone."""
        while until is None or len(self.acknowledged) < until:
            # Whole ones only: both ends move multiples of eight bytes, and so little at once is never split.
            heard = os.read(self._listen, PIPE_BYTES)
            if not heard:
                break
            self.acknowledged += [seq for (seq,) in ACKNOWLEDGEMENT.iter_unpack(heard)]
        if until is not None and len(self.acknowledged) < until:
            raise ChildProcessError(f"the recorder ended early, with exit code {self._process.wait()}")

    def kill(self) -> None:
        """SIGKILL, then hear what it had still said."""
        self._process.kill()
        self.listen()
        self._process.wait()

    def report(self) -> dict[str, Any]:
        """Listen to the end of the feed and return what the recorder reports."""
        self.listen()
        output = self._output.read()
        if (code := self._process.wait()) != 0:
            raise ChildProcessError(f"the recorder failed, with exit code {code}")
        report: dict[str, Any] = json.loads(output)
        return report
