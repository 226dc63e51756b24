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
    try:
        code = _run(arguments)
        # Here, not at the interpreter's exit, where a closed pipe could no longer be told from an error.
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would raise again when the interpreter closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(arguments: "Namespace") -> int:
    try:
        return int(import_module(f"aresbus.cli.{arguments.verb}").run(arguments))
    except KeyboardInterrupt:
        print("aresbus: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if arguments.debug:
            raise
        _complain(error, as_json=arguments.json)
        return COULD_NOT


def _complain(error: Exception, *, as_json: bool) -> None:
    """Say in one line on stderr what went wrong and what to do; results alone go to stdout."""
    # Imported for those who need it: the error path only.
    from aresbus.cli.failure import error_line, error_object  # noqa: PLC0415
    from aresbus.cli.terminal import json_text  # noqa: PLC0415

    print(json_text(error_object(error)) if as_json else error_line(error), file=sys.stderr)
