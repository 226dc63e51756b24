"""Counting the instructions of a program of ours under callgrind.

Owns bringing valgrind where it is missing, running the program, and reading the counts. Knows not what is counted. The
program marks where each count begins and ends by a call of `getpgrp`, and prints a JSON list of [name, events]. Its
first thread alone is counted: what others do there depends on when they are let.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "target"
MARK = "getpgrp"
STARTS_NOTHING = "Fatal error at startup"
"""What valgrind says where it cannot start any program of this machine."""
# No network must not mean minutes of waiting, nor another apt a failure.
APT = [
    *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes"),
    *("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "DPkg::Lock::Timeout=60"),
]
INSTALL = [*APT, "install", "--no-install-recommends", "valgrind"]
UPDATE = [*APT, "update"]


class NotCountedError(Exception):
    """This machine cannot count, which is no fault of what would be counted; says why."""


def bring_valgrind() -> None:
    """Have apt install valgrind if it is missing and we may; else NotCountedError."""
    if shutil.which("valgrind") is not None:
        return
    if shutil.which("apt-get") is None:
        raise NotCountedError("valgrind is not installed, and there is no apt-get to bring it")
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if as_root and (shutil.which("sudo") is None or not _done([*as_root, "true"])):
        raise NotCountedError("valgrind is not installed, and only root may: apt-get install valgrind")
    if _done([*as_root, *INSTALL]) or (_done([*as_root, *UPDATE]) and _done([*as_root, *INSTALL])):
        return
    raise NotCountedError("valgrind is not installed, and `apt-get install valgrind` fails")


def _done(command: list[str]) -> bool:
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def count(program: Path) -> dict[str, float]:
    """Instructions per event of each part that the program marks. Raises NotCountedError, or RuntimeError if it fails."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise NotCountedError("valgrind is not installed")
    # No setting of the caller's may change what runs: other allocators, debug modes, logs elsewhere.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "PYTHONPATH" or not name.startswith(("ARESBUS_", "PYTHON"))
    }
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TARGET, prefix="callgrind-") as folder:
        done = subprocess.run(
            [
                *(valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/counts"),
                *("--separate-threads=yes", f"--dump-before={MARK}", sys.executable, str(program)),
            ],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment | {"PYTHONHASHSEED": "0"},
        )
        if done.returncode == -signal.SIGILL or STARTS_NOTHING in done.stderr:
            raise NotCountedError(f"valgrind does not get along with this machine:\n{done.stderr}")
        if done.returncode != 0:
            raise RuntimeError(f"{program.name} failed under callgrind:\n{done.stderr}")
        return read_counts(Path(folder), json.loads(done.stdout))


def read_counts(folder: Path, counted: list[tuple[str, int]]) -> dict[str, float]:
    """From callgrind's files, one for each mark: every second one holds what led to a count, which is not asked for."""
    parts = len(list(folder.glob("counts.*-01")))
    if parts != 2 * len(counted):
        raise RuntimeError(f"callgrind saw {parts} calls of {MARK} for {len(counted)} counts")
    return {
        name: _instructions(folder / f"counts.{2 * number}-01") / events
        for number, (name, events) in enumerate(counted, 1)
    }


def _instructions(file: Path) -> int:
    found = re.search(r"^summary: (\d+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{file.name} has no summary")
    return int(found[1])
