"""What went wrong, said once and kept: the last error, and log lines that no failing loop can turn into a flood.

Owns the rate limit and ``last_error``. Decides nothing: who calls it has already counted and will raise or go on.
Invariant: the first of a kind is always logged, and what was held back is counted in the next line of its kind.
"""

import copy
import logging
import time
from collections.abc import Mapping
from typing import Any

from aresbus.errors import AresbusError

__all__ = ["Troubles", "described"]

QUIET_SECONDS = 5.0
"""After the first lines of a kind, one line in this time at most."""
FREE_LINES = 5
KINDS_REMEMBERED = 1_000
"""Kinds hold event types and handler names, of which a program has few; the rest is a bug we survive."""


class Troubles:
    """Remembers and logs. Usable from any thread."""

    def __init__(self, logger: logging.Logger) -> None:
        """Log to ``logger``, which the library never configures."""
        self._logger = logger
        self._kinds: dict[str, tuple[int, float]] = {}
        self.last: BaseException | None = None
        self.last_at: float | None = None
        """When ``last`` was reported, on the monotonic clock."""

    def report(
        self,
        kind: str,
        message: str,
        error: BaseException | None = None,
        *,
        level: int = logging.ERROR,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Log ``message``, unless many of this ``kind`` were logged just now; keep ``error`` as the last one.

        The record's ``aresbus`` attribute is a dict for log processors: ``kind``, the ``code`` and fields of an
        error of aresbus, and the ``fields`` given.
        """
        if error is not None:
            self.last, self.last_at = _without_frames(error), time.monotonic()
        held_back = self._held_back(kind)
        if held_back < 0:
            return
        tail = f" (and {held_back} more like it)" if held_back else ""
        known: dict[str, Any] = {"kind": kind, **(fields or {})}
        if isinstance(error, AresbusError):
            known |= {"code": error.code, **{name: getattr(error, name) for name in error.FIELDS}}
        self._logger.log(level, "%s%s", message, tail, extra={"aresbus": known})

    @property
    def last_text(self) -> str | None:
        """The last error as text, for status reports."""
        if self.last is None:
            return None
        return str(self.last) if isinstance(self.last, AresbusError) else described(self.last)

    def _held_back(self, kind: str) -> int:
        """How many lines of this kind were held back before this one; -1: this one is held back too."""
        now = time.monotonic()
        count, since = self._kinds.get(kind, (0, now))
        if count < FREE_LINES or now - since >= QUIET_SECONDS:
            if len(self._kinds) >= KINDS_REMEMBERED:
                self._kinds.clear()
            self._kinds[kind] = (count + 1 if count < FREE_LINES else FREE_LINES, now)
            return max(0, count - FREE_LINES)
        self._kinds[kind] = (count + 1, since)
        return -1


def described(error: BaseException) -> str:
    """The error's repr, or its class where an exception of the user's has none that works."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001 - the user's code, on our way to report a failure of the user's code
        return f"{type(error).__name__} (its repr fails)"


def _without_frames(error: BaseException) -> BaseException:
    """A copy: the frames of the original would keep the bus, and with it the log and its lock, alive."""
    try:
        bare = copy.copy(error)
    except Exception:  # noqa: BLE001 - an exception class of the user's that cannot be copied
        bare = RuntimeError(described(error))
    return bare.with_traceback(None)
