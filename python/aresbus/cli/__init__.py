"""The command line: one verb, one file; this one picks the verb and turns what went wrong into an exit code.

Owns exit codes and the one line an error prints. Knows nothing of logs. Invariants: no verb is imported before it is
chosen, so ``--help`` answers at once; no error of aresbus or of the operating system shows a traceback unless
``--debug`` asks for it.

Exit codes: 0 done, nothing found · 1 done, with findings (bad lines, damage) · 2 could not · 130 interrupted by
Ctrl-C. A reader of our output that goes away (``| head``) is no error.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

from aresbus.cli.arguments import parse

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["main"]

COULD_NOT = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process) and return its exit code."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    _prepare_output(as_json=arguments.json)
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except OSError:
        # It was said or forgiven in _run; what is still buffered would raise again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(arguments: "Namespace") -> int:
    try:
        code = int(import_module(f"aresbus.cli.{arguments.verb.replace(' ', '_')}").run(arguments))
        # Here, not at the interpreter's exit, where it could no longer be told what went wrong.
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("aresbus: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except Exception as error:
        if arguments.debug:
            raise
        _complain(error, as_json=arguments.json)
        return COULD_NOT
    return code


def _prepare_output(*, as_json: bool) -> None:
    """JSON is UTF-8 wherever it goes; for people, a sign that their terminal lacks is written as its number."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, TextIOWrapper):
            output.reconfigure(encoding="utf-8" if as_json else None, errors="backslashreplace")


def _complain(error: Exception, *, as_json: bool) -> None:
    """Say in one line on stderr what went wrong and what to do; results alone go to stdout."""
    # Imported for those who need it: the error path only.
    from aresbus.cli.failure import error_line, error_object  # noqa: PLC0415
    from aresbus.cli.terminal import json_text  # noqa: PLC0415

    print(json_text(error_object(error)) if as_json else error_line(error), file=sys.stderr)
