"""A head as it is given on a command line: in a file, or as it is.

Owns which of the two it is and what is said of one that is none.
"""

from pathlib import Path

from aresbus.errors import ConfigError
from aresbus.evidence import TreeHead, heads_in

__all__ = ["heads_of"]


def heads_of(given: str) -> list[TreeHead]:
    """The heads that ``given`` holds or names. Raises ConfigError, OSError."""
    text = given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
    try:
        return heads_in(text)
    except ValueError as error:
        problem = f"--against: {error}"
        raise ConfigError(problem, problems=[problem]) from None
