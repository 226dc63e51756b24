"""Writes the page of each error code into troubleshooting.md, between its marks. Run by `make docs`; a test holds the result.

Owns how a page of `aresbus explain` looks in Markdown. The texts are those of the command line, so that both say the same.
Knows no site generator, and no engine: that need not be built.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- errors:begin -->\n", "<!-- errors:end -->"


def error_pages() -> str:
    """Every error code with what happened, what that means for the data, and what to do."""
    from aresbus.cli.pages import PAGES  # noqa: PLC0415 - found once main() has said where

    return "\n".join(_error_page(code) for code in sorted(PAGES))


def _error_page(code: str) -> str:
    from aresbus.cli.pages import PAGES  # noqa: PLC0415
    from aresbus.errors import ERRORS_BY_CODE  # noqa: PLC0415

    kind, page = ERRORS_BY_CODE[code], PAGES[code]
    fields = ", ".join(f"`{name}`" for name in kind.FIELDS) or "none"
    paragraphs = [
        f"### {code} {kind.__name__}",
        _plain(page.happened),
        f"**Your data.** {_plain(page.data)}",
        "\n".join(f"- {_plain(step)}" for step in page.to_do),
        f"Fields: {fields}.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _plain(text: str) -> str:
    """Text that was written for a terminal, as Markdown that reads the same."""
    for sign in "\\*_<[`":
        text = text.replace(sign, f"\\{sign}")
    return text


def main() -> None:
    """Write them."""
    sys.path.insert(0, str(FOLDER.parent / "python"))
    page = FOLDER / "troubleshooting.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    page.write_text(f"{before}{BEGIN}{error_pages()}{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
