"""The pytest plugin: the fixture `bus`. Named in a conftest.py as ``pytest_plugins = ["aresbus.testing.plugin"]``.

Owns that fixture. It needs no asyncio plugin: the bus is given unopened, the test runs its own loop.
"""

import pytest

from aresbus.testing.memory_bus import InMemoryBus

__all__ = ["bus"]


@pytest.fixture
def bus() -> InMemoryBus:
    """A strict bus in memory with a manual clock; ``await bus.settled()`` waits for all deliveries."""
    return InMemoryBus()
