"""What the benchmarks store: the trade of 134 bytes, once or as many distinct ones, and full metadata.

Owns the payloads, so that every benchmark speaks of the same bytes. Deterministic: seeded.
"""

import random
import uuid
from typing import Any

import orjson

TRADE_BYTES = 134
AGGREGATES = [f"order-{number:05d}" for number in range(1_000)]
EVENT_TYPE = "trade_executed"
SOURCE = "exchange"

Trade = dict[str, Any]
Input = tuple[Trade, str, str]
"""A trade, its aggregate id, its correlation id (36 characters)."""


def trade(number: int, price: float = 61250.5, quantity: float = 0.125) -> Trade:
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


def distinct_trades(count: int) -> list[Trade]:
    """As many dicts as asked for, fresh from a decoder: no object, no string shared but the keys."""
    chance = random.Random(17)
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


def cold_inputs(count: int) -> list[Input]:
    """Distinct trades of a thousand aggregates in random order, each with a correlation id of its own."""
    chance = random.Random(18)
    return [
        (data, chance.choice(AGGREGATES), str(uuid.UUID(int=chance.getrandbits(128), version=4)))
        for data in distinct_trades(count)
    ]


def warm_inputs(count: int) -> list[Input]:
    """The same trade, aggregate and correlation id over and over: everything in the nearest cache."""
    one = (trade(1234567), AGGREGATES[0], str(uuid.UUID(int=19, version=4)))
    return [one] * count
