"""The Enhanced Event Bus: the face that Ares code knows, over a log that is the queue.

Owns `publish`, and what can be asked of the past. Its life is life's, subscribing subscribing's, storing the store's business.
Invariants: persist first, then deliver; nothing is refused in silence; nothing here refers back to the bus, so that a
dropped one releases its lock at once.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from aresbus import correlation, tracing
from aresbus._core import Durability, Event, Expected, Published, Receipt
from aresbus.aggregates import Aggregate
from aresbus.config import get_event_bus_config
from aresbus.errors import ConfigError, EncodeError, LimitError, SchemaError, VersionConflictError
from aresbus.events import EventSnapshot, event_type_of
from aresbus.foreign import ForeignStore
from aresbus.log import Log
from aresbus.publishing import Publication
from aresbus.reports import RetentionReport
from aresbus.retention import RetentionPlan
from aresbus.schema.presenting import parts_of
from aresbus.snapshot_acts import CheckedSnapshot, checked, drop_snapshots
from aresbus.store import waits_for_disk
from aresbus.subscribing import SubscribableBus, unknown_type

if TYPE_CHECKING:
    from aresbus.replay import Replay

__all__ = ["EnhancedEventBus", "setup_enhanced_event_bus"]

logger: logging.Logger = logging.getLogger(__name__)

DURABILITIES = ("none", "interval", "group", "always")
REFUSED = (EncodeError, LimitError, SchemaError)
"""Input that cannot be published: a lenient bus answers with an empty id, a strict one raises."""


class EnhancedEventBus(SubscribableBus):
    """An event bus whose queue is a durable log.

    ``config`` is ``{"event_bus": {...}}`` with any of the fifteen keys; engine settings (durability,
    sync_interval_ms, segment_bytes, ...) go into ``log_options``. ``mode="r"`` follows a log that another process
    writes. ``event_store`` is a store of your own, or one of ours. ``strict``: refused input raises instead of
    answering with an empty id. ``retention`` says what is kept
    beyond ``event_ttl_days``. Nothing is opened before :meth:`initialize`, ``async with``, or the first publish.
    Raises ConfigError.

    Threads: ``publish``, ``subscribe``, ``unsubscribe`` and the readings work from any thread; handlers run on the
    loop of :meth:`run`. A bus that is dropped without :meth:`stop` releases its lock and threads.
    """

    # Publishing

    def publish(  # noqa: PLR0917 - fixed by the contract; the hot path pays for each call
        self,
        event_type: str,
        data: Any,
        source: str = "",
        correlation_id: str | None = None,
        aggregate_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        causation_id: str | None = None,
        event_id: str | None = None,
        event_time_ns: int | None = None,
        schema_version: str | None = None,
        expected_version: Expected | int = Expected.ANY,
        durability: Durability | None = None,
    ) -> Coroutine[Any, Any, str]:
        """Append the event now; awaiting the result gives its id. From any thread.

        On return the event is committed: it survives the death of the process, and the loop of :meth:`run` will
        deliver it. Awaited under "group" or "always" it is also durable. ``data`` must not be changed afterwards: it
        is what handlers get.

        Refused input (unknown type, no JSON form, over a limit, schema breach under "strict") gives the id "", is
        logged, counted and kept in ``last_error``; a strict bus raises EncodeError, LimitError, SchemaError. Awaiting
        always raises StorageError and its kin, and TypeError or ValueError for a wrong argument, which are logged at the
        call too; and VersionConflictError, which is an answer and no trouble.
        """
        delivery = self._delivery
        roster = delivery.roster
        try:
            known = event_type_of(event_type)
            if known is None:
                raise unknown_type(event_type)  # noqa: TRY301 - one way for all that is refused
            if durability is not None:
                _check_durability(durability)
            if roster.blocking:
                delivery.pressure.refuse_feeding_itself()
            if schema_version is None:
                schema_version = self.version_manager.current_versions.get(known)
            is_valid = self._checked(known, data, schema_version) if self.config.schema_validation else None
            if self._foreign is not None:
                own = self._foreign.accept(
                    known, data, source, correlation_id, causation_id, aggregate_id, tags,
                    event_id, event_time_ns, schema_version, expected_version,
                )  # fmt: skip
                save = partial(self._save_first, self._foreign, own, is_valid=is_valid)
                return Publication(None, later=save)
            log = self._log
            if log is None:
                log = self._open()
            waits = self._waits if durability is None else waits_for_disk(log, durability)
            outcome: Event | Published | Receipt = log._publish(  # noqa: SLF001 - the engine's door for the bus
                known, data, source, correlation_id, causation_id, aggregate_id, tags,
                event_id, event_time_ns, schema_version, expected_version, is_valid, self._speaks_for,
                delivery.frontier, waits or roster.blocking,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - raised when it is awaited
            return self._refused(event_type, error)
        return outcome if isinstance(outcome, Published) else self._finish(log, outcome, waits=waits)

    def _finish(self, log: Log, outcome: Event | Receipt, *, waits: bool) -> Coroutine[Any, Any, str]:
        """What a publish comes to that is not over with the append: inline callbacks, the disk, a subscriber that blocks."""
        delivery = self._delivery
        is_left = bool(delivery.roster.inline) or delivery.frontier.has_unsettled
        if is_left and not isinstance(outcome, Receipt):  # which is a retry's: its event was delivered
            delivery.inline.hand_out(delivery, outcome)
        if delivery.roster.blocking and delivery.pressure.over() is not None:
            then = partial(self._settled, log, outcome, must=waits)
            return Publication(outcome, later=delivery.pressure.held(then))
        if waits:
            return Publication(outcome, later=partial(self._settler.settled, log, outcome))
        return Publication(outcome) if isinstance(outcome, Receipt) else Published(outcome)

    async def _settled(self, log: Log, event: Event | Receipt, *, must: bool) -> str:
        return await self._settler.settled(log, event) if must else event.event_id

    def _checked(self, event_type: str, data: Any, schema_version: str | None) -> bool | None:
        """Whether the data fits its declared schema; None where none is declared. Under "strict" a breach raises."""
        problems = self.version_manager.problems(event_type, data, schema_version)
        if not problems:
            return None if problems is None else True
        message = f"{event_type} does not fit its schema: {'; '.join(problems)}"
        if self.config.schema_validation == "strict":
            raise SchemaError(message, event_type=str(event_type), problems=problems)
        self._counters.schema_breaches += 1
        if event_type not in self._breaching:
            self._breaching.add(event_type)
            logger.warning("%s; stored all the same, marked; said once per type", message)
        return False

    def _refused(self, event_type: Any, error: Exception) -> Publication:
        if isinstance(error, VersionConflictError):
            # Somebody was faster: an answer, not a trouble.
            logger.debug("publish(%r): %s", event_type, error)
            return Publication(None, error)
        is_input = isinstance(error, REFUSED)
        if is_input:
            self._counters.events_rejected += 1
        self._troubles.report(f"publish {type(error).__name__}", f"publish({event_type!r}): {error}", error)
        return Publication(None, error if self._strict or not is_input else None)

    async def _save_first(self, foreign: ForeignStore, event: Event, *, is_valid: bool | None) -> str:
        return await foreign.save_and_deliver(await self._opened(), event, is_valid=is_valid)

    # The past

    async def replay_events(
        self,
        aggregate_id: str | None = None,
        from_sequence: int = 0,
        to_sequence: int | None = None,
        event_types: Iterable[str] | None = None,
    ) -> list[Event]:
        """Stored events in the current form of their types, oldest first, both ends inclusive; nothing is delivered.

        The stored form of each is ``event.stored``. Raises UpcastError where a step fails.
        """
        if self._foreign is None:
            await self._opened()
        self._counters.replays_performed += 1
        stored = await self.event_store.get_events(aggregate_id, from_sequence, to_sequence, event_types)
        return list(self.version_manager.presenter("raw").each(stored))

    async def replay(self, **options: Any) -> "Replay":
        """A replay of this bus's log through handlers of your own; the keywords are those of :class:`aresbus.Replay`.

        Nothing is delivered to this bus's subscriptions and nothing is published here. Opens the log if need be.
        """
        from aresbus.replay import Replay  # noqa: PLC0415 - a replay is a bus of its own, made of the same parts

        log = await self._opened()
        self._counters.replays_performed += 1
        options.setdefault("correlation_tracking", self.config.correlation_tracking)
        options.setdefault("present", partial(parts_of, self.version_manager.presenter("raw")))
        return Replay(log, **options)

    async def rebuild_from_events(
        self,
        aggregate_id: str,
        target_sequence: int | None = None,
        *,
        target_version: int | None = None,
        target_time: datetime | int | None = None,
    ) -> dict[str, Any]:
        """The aggregate's state now, or as it was at a position, a version, a time (of the append), each inclusive.

        From the newest usable snapshot and later events. Raises TruncatedError where events that it needs are no longer
        kept, ValueError and TypeError for impossible bounds, UpcastError, and what a reducer raises.
        """
        if self._foreign is None:
            await self._opened()
        return await self._snapshots.rebuild(
            aggregate_id, target_sequence, to_version=target_version, to_time=target_time
        )

    async def take_snapshot(self, aggregate_id: str) -> EventSnapshot | None:
        """Store a snapshot of the aggregate as it is now, whatever the policies say; durable on return.

        None where it has no event that a reducer knows. Raises as :meth:`rebuild_from_events`, EncodeError for a state
        without JSON form, StorageError and its kin, also on a bus with mode "r".
        """
        if self._foreign is None:
            await self._opened()
        return await self._snapshots.take_now(aggregate_id)

    async def check_snapshots(
        self, aggregate_id: str | None = None, *, aggregates: Iterable[type[Aggregate]] = ()
    ) -> list[CheckedSnapshot]:
        """Fold the state of every snapshot of an aggregate, or of all, from the first event and compare.

        With the reducers and schema versions of this bus, and the classes of its repositories; see
        :func:`aresbus.check_snapshots`. Off the loop. Raises ConfigError on a store of your own, which lists none.
        """
        log, recipe = await self._log_of_snapshots(), self._snapshots.recipe
        classes = {one.__name__: one for one in aggregates}
        return await asyncio.to_thread(checked, log, recipe, classes, aggregate_id)

    async def drop_snapshots(
        self,
        aggregate_id: str | None = None,
        *,
        damaged_only: bool = False,
        force: bool = False,
        reason: str = "",
    ) -> list[CheckedSnapshot]:
        """Remove the snapshots of an aggregate, or of all: an act on record. See :func:`aresbus.drop_snapshots`.

        Off the loop. Raises ConfigError on a store of your own, StorageError and its kin.
        """
        log = await self._log_of_snapshots()
        dropped = await asyncio.to_thread(
            drop_snapshots, log, aggregate_id, damaged_only=damaged_only, force=force, reason=reason
        )
        self._snapshots.forget(aggregate_id)
        return dropped

    async def _log_of_snapshots(self) -> Log:
        if self._foreign is not None:
            problem = "event_store: a store of your own lists no snapshots"
            raise ConfigError(problem, problems=[problem])
        return await self._opened()

    # What is kept

    async def retention_plan(self) -> RetentionPlan:
        """What the next pass of retention would drop, and why the rest stays: holds, subscriptions, missing snapshots.

        By the policy that the bus was made with and ``event_ttl_days``. Changes nothing; off the loop. Snapshots that
        the pass itself would make first are among the pins. Raises CorruptionError, StorageError, LogClosedError.
        """
        return await asyncio.to_thread(self._expiry.plan, await self._opened())

    async def apply_retention(self, *, reason: str = "") -> RetentionReport | None:
        """Make a pass now, as the bus does by itself every ``health_check_interval`` seconds; None where nothing went.

        Snapshots that are missing are made first; intent and outcome go to the audit log. Off the loop. Raises what
        :meth:`Log.apply_retention` raises.
        """
        return await self._expiry.apply(await self._opened(), reason)

    # Conversations

    @staticmethod
    def correlate(
        correlation_id: str | None = None, causation_id: str | None = None
    ) -> AbstractContextManager[str]:
        """As :func:`aresbus.correlate`: what is published inside the block shares one conversation."""
        return correlation.correlate(correlation_id, causation_id)

    async def trace(self, correlation_id: str) -> tracing.Trace:
        """The tree of one conversation, as :func:`aresbus.trace`; read off the loop."""
        return await asyncio.to_thread(tracing.trace, await self._opened(), correlation_id)


def _check_durability(durability: Any) -> None:
    if durability not in DURABILITIES:
        raise ValueError(f"durability: got {durability!r}, takes {', '.join(DURABILITIES)}")


async def setup_enhanced_event_bus(config: Mapping[str, Any] | None = None) -> EnhancedEventBus | None:
    """An initialised bus; None, with the typed error logged, where that is not possible.

    Without ``config`` that of :func:`aresbus.get_event_bus_config`: defaults, aresbus.toml, environment.
    """
    try:
        bus = EnhancedEventBus(get_event_bus_config() if config is None else config)
    except ConfigError as error:
        logger.error("no bus: %s", error)  # noqa: TRY400 - the error says it all
        return None
    return bus if await bus.initialize() else None
