"""A command on a pseudo-terminal of its own, as a person would run it. Owns no fixture and asserts nothing."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import NamedTuple

PATIENCE_SECONDS = 30.0
INTERRUPT = b"\x03"
OWNER = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from aresbus.cli import main
sys.exit(main())
"""
"""Takes the terminal for its own, or Ctrl-C would reach nobody. In the child: a fork hook is no place for Python code."""


class Shown(NamedTuple):
    """What a terminal was sent, and how the command ended."""

    text: str
    code: int


def on_terminal(*arguments: object, until: str | None = None, size: tuple[int, int] = (50, 120)) -> Shown:
    """Run ``aresbus ARGUMENTS`` on a terminal; press Ctrl-C once ``until`` was shown."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, *map(str, arguments)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(slave)
    shown, deadline, is_asked = b"", time.monotonic() + PATIENCE_SECONDS, until is None
    try:
        while time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    data = os.read(master, 65_536)
                except OSError:  # the last holder of the other side is gone
                    break
                if not data:
                    break
                shown += data
            if not is_asked and until is not None and until.encode() in shown:
                os.write(master, INTERRUPT)
                is_asked = True
        return Shown(shown.decode("utf-8", "replace"), process.wait(timeout=5))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        os.close(master)
