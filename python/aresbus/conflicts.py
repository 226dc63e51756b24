"""Trying again after somebody else was faster: the same act from its beginning, after a pause.

Owns how often and how long. Knows nothing of what the act does. Invariant: the last conflict is raised, never swallowed.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from aresbus.errors import VersionConflictError

__all__ = ["RETRIES", "retry_on_conflict", "retry_on_conflict_async"]

R = TypeVar("R")

RETRIES = 3
PAUSE_SECONDS = 0.001
"""Before the first retry; a log has one writing process, so a rival is another thread or task of this one."""
LONGEST_PAUSE_SECONDS = 0.1


def retry_on_conflict(act: Callable[[], R], *, retries: int = RETRIES) -> R:
    """Call ``act``, and again after each VersionConflictError, at most ``retries`` times more.

    For work over several aggregates: load, decide and save in ``act``. Pauses between tries, a few ms at first, at
    most 100. Raises the last VersionConflictError, and at once what else ``act`` raises.
    """
    for pause in _pauses(retries):
        try:
            return act()
        except VersionConflictError as conflict:
            if pause is None:
                conflict.add_note(f"given up after {retries} retries")
                raise
            time.sleep(pause)
    raise AssertionError  # the last pause is None


async def retry_on_conflict_async(act: Callable[[], Awaitable[R]], *, retries: int = RETRIES) -> R:
    """As :func:`retry_on_conflict`, for a coroutine function."""
    for pause in _pauses(retries):
        try:
            return await act()
        except VersionConflictError as conflict:
            if pause is None:
                conflict.add_note(f"given up after {retries} retries")
                raise
            await asyncio.sleep(pause)
    raise AssertionError  # the last pause is None


def _pauses(retries: int) -> Iterator[float | None]:
    """Seconds to wait after each failing try; None: that was the last one. Random, so that rivals part."""
    for tried in range(retries):
        yield random.uniform(0, min(LONGEST_PAUSE_SECONDS, PAUSE_SECONDS * 2**tried))  # noqa: S311 - no secret
    yield None
