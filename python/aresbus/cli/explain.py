"""``aresbus explain``: the page of an error code, or the list of all codes.

Owns the look-up by code, number or class name and the layout of a page; the texts stand in pages.py.
"""

import shutil
import sys
import textwrap
from argparse import Namespace

from aresbus.cli.pages import PAGES
from aresbus.cli.terminal import print_table, write_json
from aresbus.errors import ERRORS_BY_CODE

__all__ = ["run"]

MAX_WIDTH = 96
COULD_NOT = 2


def run(arguments: Namespace) -> int:
    """Print one page, or without a code the list; 2 for a code that does not exist."""
    if arguments.code is None:
        return _list(as_json=arguments.json)
    code = _code_of(arguments.code)
    if code is None:
        print(
            f"aresbus: no error has the code {arguments.code!r}; aresbus explain lists them all",
            file=sys.stderr,
        )
        return COULD_NOT
    if arguments.json:
        write_json(_shape(code))
    else:
        print(_page(code))
    return 0


def _list(*, as_json: bool) -> int:
    if as_json:
        write_json([_shape(code) for code in sorted(PAGES)])
    else:
        print_table([(code, ERRORS_BY_CODE[code].__name__, _summary(code)) for code in sorted(PAGES)])
    return 0


def _code_of(text: str) -> str | None:
    """``ab6``, ``6``, ``AB0006`` and ``CorruptionError`` all name one page."""
    digits = text.strip().upper().removeprefix("AB")
    if digits.isascii() and digits.isdigit():
        code = f"AB{int(digits):04}"
        return code if code in PAGES else None
    names = {kind.__name__.lower(): code for code, kind in ERRORS_BY_CODE.items()}
    return names.get(text.strip().lower())


def _summary(code: str) -> str:
    return " ".join((ERRORS_BY_CODE[code].__doc__ or "").split("\n\n")[0].split())


def _shape(code: str) -> dict[str, object]:
    kind, page = ERRORS_BY_CODE[code], PAGES[code]
    return {
        "code": code,
        "class": kind.__name__,
        "bases": [
            base.__name__ for base in kind.__mro__[1:] if base not in (object, BaseException, Exception)
        ],
        "fields": list(kind.FIELDS),
        "happened": page.happened,
        "data": page.data,
        "to_do": list(page.to_do),
    }


def _page(code: str) -> str:
    kind, page = ERRORS_BY_CODE[code], PAGES[code]
    width = min(MAX_WIDTH, shutil.get_terminal_size().columns)

    def paragraph(text: str, lead: str = "  ") -> str:
        return textwrap.fill(
            text, width, initial_indent=lead, subsequent_indent=" " * len(lead), break_on_hyphens=False
        )

    fields = ", ".join(kind.FIELDS) or "none"
    steps = [paragraph(step, "  - ") for step in page.to_do]
    return "\n".join(
        [
            f"{code}  {kind.__name__}",
            *("", "What happened", paragraph(page.happened)),
            *("", "What it means for your data", paragraph(page.data)),
            *("", "What to do", *steps),
            *("", "Fields of the exception", paragraph(fields)),
        ]
    )
