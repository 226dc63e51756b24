"""Shows the roles of docstrings, like :class:`Log`, as the plain code that Markdown knows. An extension of griffe.

Owns that one rewriting. Docstrings keep their roles, because editors follow them.
"""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(?:aresbus\.)?([^`]+)`")


class Roles(griffe.Extension):
    """Rewrites each docstring as it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of ``obj``."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)
