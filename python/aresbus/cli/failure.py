"""How an error reads on a terminal: one line with what happened and what to do, or one JSON object.

Owns those two forms. Knows no verb and no exit code. Invariants: never more than one line, and nothing in it
steers the terminal.
"""

from typing import Any

from aresbus.errors import AresbusError
from aresbus.readable import printable

__all__ = ["error_line", "error_object"]


def error_line(error: Exception) -> str:
    """One line: ``aresbus: [AB0003] … . … (aresbus explain AB0003)``."""
    if isinstance(error, AresbusError):
        return _one_line(f"aresbus: {error} (more: aresbus explain {error.code})")
    if isinstance(error, OSError):
        return _one_line(f"aresbus: {_system_text(error)}")
    if isinstance(error, ImportError):  # an extra that is not installed; the message names it
        return _one_line(f"aresbus: {error}")
    return _one_line(f"aresbus: this is a bug in aresbus: {_named(error)} (--debug shows where)")


def error_object(error: Exception) -> dict[str, Any]:
    """The same for programs: ``{"error": {"kind", "code", "message", "advice", …fields}}``."""
    if isinstance(error, AresbusError):
        fields = {name: getattr(error, name) for name in error.FIELDS}
        known = {"code": error.code, "message": error.message, "advice": error.advice}
        return {"error": {"kind": type(error).__name__, **known, **fields}}
    text = _system_text(error) if isinstance(error, OSError) else _named(error)
    return {"error": {"kind": type(error).__name__, "code": None, "message": text, "advice": None}}


def _system_text(error: OSError) -> str:
    if error.strerror:
        is_named = error.filename is None or str(error.filename) in error.strerror
        return error.strerror if is_named else f"{error.strerror}: {error.filename}"
    return str(error) or type(error).__name__


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
