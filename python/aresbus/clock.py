"""The bus's clock: real time, or a manual one that tests move. Owns what time it is; schedules nothing.

Invariant: the log and its bus take time from the same source, so a latency between the two is real.
"""

import time
from collections.abc import Callable
from datetime import datetime

from aresbus._core import ManualClock
from aresbus.events import datetime_of_ns

__all__ = ["Clock", "ManualClock"]


class Clock:
    """What ``bus.clock`` is. Thread-safe; ``manual`` is the source that stands still until told, if there is one."""

    __slots__ = ("manual", "time_ns")

    def __init__(self, manual: ManualClock | None = None) -> None:
        """Without ``manual``, the real clock."""
        self.manual: ManualClock | None = manual
        # The function itself, not a method around it: it is asked once per delivery.
        self.time_ns: Callable[[], int] = time.time_ns if manual is None else manual.time_ns

    def now(self) -> datetime:
        """The time, aware, in UTC, to the microsecond."""
        return datetime_of_ns(self.time_ns())
