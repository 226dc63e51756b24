"""``aresbus example``: the programs of the package's examples folder, listed or run.

Owns how an example is found and started; what it does is its own. Invariants: it runs as a user would run it, in a process
of its own on this interpreter and this very package; its exit code is ours; no example is imported to be listed.
"""

import ast
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import aresbus
from aresbus.cli.terminal import print_table, write_json

__all__ = ["run"]

COULD_NOT = 2
KILLED = 128
"""What a shell adds to the number of the signal that ended a process."""
FOLDER = Path(aresbus.__file__).parent / "examples"


def run(arguments: Namespace) -> int:
    """List the examples, or run one and return its exit code; 2 for a name that does not exist."""
    if arguments.name is None:
        _list(as_json=arguments.json)
        return 0
    # Out of the listed names alone, so that no path can be smuggled in.
    script = _scripts().get(arguments.name.removesuffix(".py").replace("-", "_"))
    if script is None:
        known = ", ".join(_scripts())
        print(f"aresbus: no example {arguments.name!r}; the examples are {known}", file=sys.stderr)
        return COULD_NOT
    log = _place(arguments.log)
    if arguments.json:
        return _run_for_programs(script, log)
    code = _run(script, log)
    if code == 0:
        print(f"\nits log is in {log}; try next:\n  aresbus read {log} --limit 5\n  aresbus info {log}")
    return code


def _scripts() -> dict[str, Path]:
    """Every example by its name, sorted."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.py")) if not file.stem.startswith("_")}


def _list(*, as_json: bool) -> None:
    shown = [(name, _subject(script)) for name, script in _scripts().items()]
    if as_json:
        write_json([{"name": name, "shows": shows} for name, shows in shown])
    else:
        print_table(shown)
        print("\naresbus example NAME runs one; the files to begin from are in", FOLDER)


def _subject(script: Path) -> str:
    """The first line of what it says about itself."""
    return (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").split("\n")[0]


def _place(wanted: str | None) -> Path:
    if wanted is not None:
        return Path(wanted).absolute()
    return Path(tempfile.mkdtemp(prefix="aresbus-example-")) / "log"


def _command(script: Path, log: Path) -> list[str]:
    # -P: the folder of the examples is no place to import from.
    return [sys.executable, "-P", str(script), str(log)]


def _environment() -> dict[str, str]:
    """That of this process, in which the example finds this very package."""
    paths = [str(FOLDER.parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _run(script: Path, log: Path) -> int:
    sys.stdout.flush()
    with subprocess.Popen(_command(script, log), env=_environment()) as example:  # noqa: S603 - our own
        while True:
            try:
                return _exit_code(example.wait())
            except KeyboardInterrupt:
                # A terminal has told it too: it ends in its own way, and what it still says is to be seen.
                continue


def _run_for_programs(script: Path, log: Path) -> int:
    done = subprocess.run(  # noqa: S603 - our own
        _command(script, log), env=_environment(), stdout=subprocess.PIPE, text=True, check=False
    )
    code = _exit_code(done.returncode)
    lines = done.stdout.splitlines()
    write_json({"name": script.stem, "log": str(log), "exit_code": code, "output": lines})
    return code


def _exit_code(code: int) -> int:
    return KILLED - code if code < 0 else code
