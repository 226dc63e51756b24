"""What schema versions cost: the check at publish, and presenting an event that is current or six versions old.

Under pytest-benchmark, as test_bench_calls.py: for comparing two commits on one machine, not for claims.
"""

from dataclasses import dataclass
from typing import Literal

import aresbus
import pytest
from aresbus import EventVersionManager

TRADE = {"symbol": "BTCUSDT", "side": "buy", "quantity": 0.5, "price": 61250.5}
VERSIONS = ("1.0.0", "1.1.0", "1.9.0", "1.10.0", "2.0.0", "2.1.0")


@dataclass
class Fill:
    """Four typed fields: checked without jsonschema-rs."""

    symbol: str
    side: Literal["buy", "sell"]
    quantity: float
    price: float


BOUNDED = {
    "type": "object",
    "properties": {"symbol": {"type": "string"}, "price": {"type": "number", "exclusiveMinimum": 0}},
    "required": ["symbol", "side", "quantity", "price"],
}


@pytest.fixture
def manager():
    made = EventVersionManager()
    made.register("fill", Fill, version="1.0.0")
    made.register("bounded", BOUNDED, version="1.0.0")
    made.register("order", {}, version=VERSIONS[0])
    for at, version in enumerate(VERSIONS[1:]):
        made.upcaster("order", VERSIONS[at], version)(lambda data, at=at: {**data, f"step{at}": at})
        made.register("order", {}, version=version)
    return made


@pytest.mark.parametrize("kind", ["trade_executed", "fill", "bounded"])
def test_check_four_fields(benchmark, manager, kind):
    assert benchmark(manager.problems, kind, TRADE) == []


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-2], VERSIONS[-1]])
def test_present(benchmark, manager, tmp_path, version):
    with aresbus.open(tmp_path / "log") as log:
        log.append("order", TRADE, schema_version=version)
        (event,) = log.read()
    shown = benchmark(manager.presenter("halt").present, event)
    assert len(shown.data) == len(TRADE) + len(VERSIONS) - 1 - VERSIONS.index(version)


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_read_1000_as_current(benchmark, manager, tmp_path, version):
    with aresbus.open(tmp_path / "log") as log:
        log.append_many([("order", TRADE)] * 1000, schema_version=version)
        total = benchmark(lambda: sum(len(event.data) for event in manager.read_as_current(log.read())))
    assert total % 1000 == 0
