"""Executes the examples of one page, top to bottom, as a reader would type them into one shell and one Python.

Owns what counts as an example: ```python blocks share one namespace; a block with a title="..." is a file of that name,
saved for the commands below it; in ```console blocks each line that starts with
"$ " is a command of bash, and the lines below it are its output (`...` stands for anything, within a line or as lines
of its own; no lines: any output will do). A failing example fails the page and names its line.
Run as a script, in the folder where the examples may leave files: python doc_runner.py PAGE.
"""

import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COMMAND_SECONDS = 120


class Block(NamedTuple):
    """One fenced block: the language it names, its first line's number in the page, its text, and its title if any."""

    language: str
    line: int
    text: str
    title: str = ""


def blocks(page: str) -> Iterator[Block]:
    """All fenced blocks of a page, in order."""
    fence = r'^```(\w*)(?: title="([\w.-]+)")?[^\n]*\n(.*?)^```$'
    for match in re.finditer(fence, page, re.DOTALL | re.MULTILINE):
        language, title, text = match.groups(default="")
        yield Block(language, page.count("\n", 0, match.start(3)) + 1, text, title)


def matches(expected: str, actual: str) -> bool:
    """Whether output is as a page shows it."""
    lines = [
        r"(?:.*\n)*?"
        if line.strip() == "..."
        else ".*?".join(map(re.escape, line.rstrip().split("..."))) + r"[ ]*\n"
        for line in expected.strip("\n").splitlines()
    ]
    return re.fullmatch("".join(lines), actual.strip("\n") + "\n") is not None


def commands(block: Block) -> Iterator[tuple[int, str, str]]:
    """Line, command and expected output of each command of a console block."""
    head = re.compile(r"^\$ ((?:.*\\\n)*.*)\n?", re.MULTILINE)
    starts = list(head.finditer(block.text))
    ends = [start.start() for start in starts[1:]] + [len(block.text)]
    for start, end in zip(starts, ends, strict=True):
        yield (
            block.line + block.text.count("\n", 0, start.start()),
            start.group(1),
            block.text[start.end() : end],
        )


def run_console(page: Path, block: Block) -> None:
    """Run each command of the block; it must succeed and print what the page shows."""
    for line, command, expected in commands(block):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode != 0:
            sys.exit(f"{page}:{line}: exit code {done.returncode}: {command}\n{done.stdout}")
        if expected.strip() and not matches(expected, done.stdout):
            sys.exit(
                f"{page}:{line}: {command}\n--- the page shows\n{expected}\n--- it printed\n{done.stdout}"
            )


def run_page(page: Path) -> None:
    """Run every example of the page."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    sys.path[0] = str(Path.cwd())  # where an interactive Python looks, too
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            exec(code, vars(main))
        elif block.language == "console":
            run_console(page, block)


if __name__ == "__main__":
    run_page(Path(sys.argv[1]).resolve())
