"""Importing on a platform that is not supported says which are, before anything else can fail."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, types
sys.platform = {system!r}
os.uname = lambda: types.SimpleNamespace(machine={machine!r})
sys.modules["aresbus._core"] = None  # a foreign platform has no such file
import aresbus
"""


@pytest.mark.parametrize(
    ("system", "machine"),
    [("win32", "AMD64"), ("darwin", "arm64"), ("linux", "riscv64"), ("linux", "armv7l")],
)
def test_an_unsupported_platform_says_which_are_supported(system, machine):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(system=system, machine=machine)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    for part in ("Linux", "x86-64", "aarch64", machine):
        assert part in last


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_supported_platform_is_imported(machine):
    program = (
        f"import os, types; os.uname = lambda: types.SimpleNamespace(machine={machine!r}); import aresbus"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
