"""Repositories for asyncio: the same aggregates on a bus, whose subscribers get what is decided.

Owns what runs on the loop and what beside it. All meaning is that of repositories. Invariants: nothing that waits for
the disk holds the loop; an append that waits for nothing is made at once, so that a cancellation finds it done or not
begun.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar, overload

from aresbus._core import Durability, Receipt
from aresbus.aggregates import Aggregate
from aresbus.config import BusConfig
from aresbus.conflicts import RETRIES, retry_on_conflict_async
from aresbus.events import EventSnapshot
from aresbus.log import Log
from aresbus.reducers import Present, as_stored
from aresbus.repositories import Executed, Repository, append_decided, defaults_of, note_saved, policy_of
from aresbus.snapshot_policies import SnapshotPolicy
from aresbus.store import waits_for_disk

__all__ = ["AsyncRepository", "OpenBus"]

A = TypeVar("A", bound=Aggregate)
R = TypeVar("R")


class OpenBus(Protocol):
    """What an :class:`AsyncRepository` needs of a bus."""

    config: BusConfig

    @property
    def log(self) -> Log:
        """Its log, opened if need be."""


class AsyncRepository(Generic[A]):
    """Aggregates of one class on a bus: what they decide is delivered as anything published. For one event loop.

    The settings are those of :class:`Repository`. The data is not checked against declared schemas.
    """

    def __init__(
        self,
        bus: OpenBus,
        kind: type[A],
        *,
        snapshot_every: int | None = None,
        snapshot_policy: SnapshotPolicy | None = None,
        present: Present = as_stored,
    ) -> None:
        """Nothing is opened or read yet. Raises as :class:`Repository`."""
        self._bus, self._kind, self._present = bus, kind, present
        self._policy = policy_of(snapshot_every, snapshot_policy)

    async def load(
        self,
        aggregate_id: str,
        *,
        to_version: int | None = None,
        to_seq: int | None = None,
        to_time: datetime | int | None = None,
    ) -> A:
        """As :meth:`Repository.load`, off the loop."""

        def act() -> A:
            repository = self._repository()
            return repository.load(aggregate_id, to_version=to_version, to_seq=to_seq, to_time=to_time)

        return await asyncio.to_thread(act)

    async def save(
        self,
        *aggregates: Aggregate,
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        durability: Durability | None = None,
    ) -> list[Receipt]:
        """As :meth:`Repository.save`. Off the loop where it waits for the disk, else the append is made at once."""
        repository, log = self._repository(), self._bus.log
        is_tracked = self._bus.config.correlation_tracking
        defaults = defaults_of(source, correlation_id, causation_id, durability, is_tracked=is_tracked)
        if waits_for_disk(log, durability):
            receipts = await asyncio.to_thread(append_decided, log, aggregates, defaults)
        else:
            receipts = append_decided(log, aggregates, defaults)
        saved = note_saved(aggregates, receipts)
        if self._policy is not None:
            await asyncio.to_thread(repository.take_snapshots, saved)
        return receipts

    async def take_snapshot(self, aggregate_id: str) -> EventSnapshot | None:
        """As :meth:`Repository.take_snapshot`, off the loop."""
        return await asyncio.to_thread(self._repository().take_snapshot, aggregate_id)

    @overload
    async def execute(
        self,
        aggregate_id: str,
        command: Callable[[A], Coroutine[Any, Any, R]],
        *,
        retries: int = RETRIES,
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        durability: Durability | None = None,
    ) -> Executed[A, R]: ...
    @overload
    async def execute(
        self,
        aggregate_id: str,
        command: Callable[[A], R],
        *,
        retries: int = RETRIES,
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        durability: Durability | None = None,
    ) -> Executed[A, R]: ...
    async def execute(
        self,
        aggregate_id: str,
        command: Callable[[A], Any],
        *,
        retries: int = RETRIES,
        source: str = "",
        correlation_id: str | None = None,
        causation_id: str | None = None,
        durability: Durability | None = None,
    ) -> Executed[A, Any]:
        """As :meth:`Repository.execute`. The command runs on the loop and may be async."""

        async def act() -> Executed[A, Any]:
            aggregate = await self.load(aggregate_id)
            answer = command(aggregate)
            result = await answer if inspect.isawaitable(answer) else answer
            receipts = await self.save(
                aggregate,
                source=source,
                correlation_id=correlation_id,
                causation_id=causation_id,
                durability=durability,
            )
            return Executed(aggregate, result, receipts)

        return await retry_on_conflict_async(act, retries=retries)

    def _repository(self) -> Repository[A]:
        # A bus that was stopped and opened again has another log.
        return Repository(self._bus.log, self._kind, snapshot_policy=self._policy, present=self._present)
