"""A slice of recorded market data, as package data: what ``aresbus demo`` and the tests run on.

Owns the names of the files and where they come from; knows nothing of logs, and how a line reads is told in
``aresbus.cli.lines``. Invariant: the files are consecutive messages exactly as recorded, 4,000 of each capture, the
order book snapshot among them.
"""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CAPTURES", "Capture"]


@dataclass(frozen=True)
class Capture:
    """One recorded feed: the file, and the source its events are to carry (both feeds name the same symbol)."""

    path: Path
    source: str


_HERE = Path(__file__).parent

CAPTURES = (
    Capture(_HERE / "binance-usdm-btcusdt-20240808.gz", "binance-usdm"),
    Capture(_HERE / "binance-spot-btcusdt-20240808.gz", "binance-spot"),
)
"""BTCUSDT futures and spot at one exchange, 8 August 2024: 16 s and 38 s of it. NOTICE beside it names the source."""
