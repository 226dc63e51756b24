"""For those who test what they build on aresbus: a bus in memory, `settled`, `given`, and the contract of event stores.

Owns nothing that runs in production. pytest is needed for `aresbus.testing.plugin` alone, whose fixture `bus` comes
with ``pytest_plugins = ["aresbus.testing.plugin"]`` in a conftest.py.
"""

from aresbus.testing.contract import EventStoreContract
from aresbus.testing.memory_bus import InMemoryBus, settled
from aresbus.testing.scenarios import given

__all__ = ["EventStoreContract", "InMemoryBus", "given", "settled"]
