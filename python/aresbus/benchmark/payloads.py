"""What the benchmarks store: trades of 134 bytes and books of 913, once or as many distinct ones, and full metadata.

Owns the payloads, so that every benchmark speaks of the same bytes. Deterministic: seeded.
"""

import random
import uuid
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson

__all__ = [
    "AGGREGATES",
    "BOOK_BYTES",
    "EVENT_TYPE",
    "SOURCE",
    "TRADE_BYTES",
    "Data",
    "Input",
    "book",
    "cold_inputs",
    "distinct_books",
    "distinct_trades",
    "trade",
    "warm_inputs",
]

TRADE_BYTES = 134
BOOK_BYTES = 913
LEVELS = 20
AGGREGATES = [f"order-{number:05d}" for number in range(1_000)]
EVENT_TYPE = "trade_executed"
SOURCE = "exchange"

Data: TypeAlias = dict[str, Any]
Input: TypeAlias = tuple[Data, str, str]
"""A payload, its aggregate id, its correlation id (36 characters)."""


def trade(number: int, price: float = 61250.5, quantity: float = 0.125) -> Data:
    """Ten keys: two floats, an int, strings, a bool; 134 bytes of JSON."""
    return {
        "symbol": "BTCUSDT",
        "side": "buy",
        "price": price,
        "qty": quantity,
        "id": number,
        "mkt": "spot",
        "type": "ioc",
        "desk": "a",
        "maker": True,
        "fee": "0",
    }


def book(number: int, bids: list[list[float]] | None = None, asks: list[list[float]] | None = None) -> Data:
    """An order book of 20 levels × 2 sides, each a price and a quantity; 913 bytes of JSON."""
    return {
        "symbol": "BTCUSDT",
        "venue": "binance",
        "levels": LEVELS,
        "first_id": number,
        "last_id": number + 7,
        "bids": bids or [[61250.15, 12.34567]] * LEVELS,
        "asks": asks or [[61250.25, 12.34567]] * LEVELS,
    }


def distinct_trades(count: int) -> list[Data]:
    """As many dicts as asked for, fresh from a decoder: no object, no string shared but the keys."""
    chance = random.Random(17)  # noqa: S311 - repeatable, not secret
    encoded = [
        orjson.dumps(
            trade(
                chance.randrange(1_000_000, 10_000_000),
                chance.randrange(100_001, 999_999, 2) / 10,
                chance.randrange(101, 999, 2) / 1000,
            )
        )
        for _ in range(count)
    ]
    return [orjson.loads(text) for text in encoded]


def distinct_books(count: int) -> list[Data]:
    """As distinct trades are."""
    chance = random.Random(20)  # noqa: S311 - repeatable, not secret

    def side() -> list[list[float]]:
        return [
            [chance.randrange(6_000_001, 6_999_999, 2) / 100, chance.randrange(1_000_001, 9_999_999, 2) / 1e5]
            for _ in range(LEVELS)
        ]

    encoded = [
        orjson.dumps(book(chance.randrange(50_000_000_000, 60_000_000_000), side(), side()))
        for _ in range(count)
    ]
    return [orjson.loads(text) for text in encoded]


def cold_inputs(count: int, distinct: Callable[[int], list[Data]] = distinct_trades) -> list[Input]:
    """Distinct payloads of a thousand aggregates in random order, each with a correlation id of its own."""
    chance = random.Random(18)  # noqa: S311 - repeatable, not secret
    return [
        (data, chance.choice(AGGREGATES), str(uuid.UUID(int=chance.getrandbits(128), version=4)))
        for data in distinct(count)
    ]


def warm_inputs(count: int, data: Data | None = None) -> list[Input]:
    """The same payload (a trade), aggregate and correlation id over and over: everything in the nearest cache."""
    one = (data or trade(1234567), AGGREGATES[0], str(uuid.UUID(int=19, version=4)))
    return [one] * count
