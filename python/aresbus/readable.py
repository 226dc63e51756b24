"""How values read on one line: a duration in the unit that fits, a moment in UTC, a text out of somebody's data.

Owns these forms, for everything that prints. Knows no event. Invariants: a moment is exact to the nanosecond; what comes
out of data cannot steer a terminal.
"""

from datetime import UTC, datetime

__all__ = ["duration", "printable", "time_text"]

NS_PER_S = 1_000_000_000
UNITS = (
    ("d", 86_400e9),
    ("h", 3_600e9),
    ("min", 60e9),
    ("s", 1e9),
    ("ms", 1e6),
    ("µs", 1e3),
)
READS_AS_SECONDS_NS = 120e9
"""Below two minutes people think in seconds."""


def duration(ns: float) -> str:
    """Nanoseconds in the unit that reads best, like ``18.3 µs``, ``90.0 s`` or ``2.5 d``; negative ones with their sign."""
    size = abs(ns)
    for unit, factor in UNITS:
        if size >= factor and not (unit == "min" and size < READS_AS_SECONDS_NS):
            return f"{ns / factor:,.1f} {unit}"
    return f"{ns:,.0f} ns"


def time_text(ns: int | None) -> str:
    """ISO 8601 in UTC with all nine decimals: a datetime has only six. ``-`` for None."""
    if ns is None:
        return "-"
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def printable(text: str) -> str:
    """The text with every control character and line break replaced by a visible sign."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
