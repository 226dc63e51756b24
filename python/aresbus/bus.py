"""The Enhanced Event Bus: the face that Ares code knows, over a log that is the queue.

Owns the life of a bus (open, run, stop), `publish` and `subscribe`, and what a user can ask it. Storing is the store's
business, delivering delivery's, tasks the runner's. Invariants: persist first, then deliver; nothing is refused in
silence; nothing here refers back to the bus, so that a dropped one releases its lock at once.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from aresbus._core import Durability, Event, Expected
from aresbus.config import NOT_YET, get_event_bus_config
from aresbus.correlation import handled_event, inherit
from aresbus.errors import (
    AresbusError,
    BusStateError,
    ConfigError,
    EncodeError,
    LimitError,
    LogClosedError,
    SchemaError,
)
from aresbus.events import event_type_of
from aresbus.foreign import ForeignStore
from aresbus.log import Log
from aresbus.publishing import Publication
from aresbus.runner import DISPATCH_AT_ONCE, Runner
from aresbus.store import waits_for_disk
from aresbus.subscribing import SubscribableBus, unknown_type

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
    answering with an empty id. Nothing is opened before :meth:`initialize`, ``async with``, or the first publish.
    Raises ConfigError.

    Threads: ``publish``, ``subscribe``, ``unsubscribe`` and the readings work from any thread; handlers run on the
    loop of :meth:`run`. A bus that is dropped without :meth:`stop` releases its lock and threads.
    """

    # Life

    async def initialize(self) -> bool:
        """Open the log, also again after :meth:`stop`, and warn of configuration keys without effect yet.

        True once it is open. False if it could not be, the typed error logged and kept; a strict bus raises it.
        """
        try:
            await self._opened(again=True)
        except (AresbusError, OSError) as error:
            self._troubles.report("initialize", f"the bus cannot start: {error}", error)
            if self._strict:
                raise
            return False
        return True

    async def run(self) -> None:
        """Deliver until :meth:`stop`, on this loop; opens the log if need be.

        Raises BusStateError if the bus runs already, on this loop or another, and what makes delivery impossible:
        CorruptionError, LogClosedError. Cancelling it cancels running handlers; their deliveries count as not made.
        """
        if self._runner is not None or self._is_starting:
            raise BusStateError("the bus is running already")
        self._is_starting = True
        try:
            runner = self._begin(await self._opened())
        finally:
            self._is_starting = False
        await self._deliver(runner)

    def _begin(self, log: Log) -> Runner:
        self._runner = Runner(self._delivery, self._house, log)
        return self._runner

    async def _deliver(self, runner: Runner) -> None:
        try:
            await runner.run()
        except Exception as error:
            self._troubles.report("run", f"the bus ends: {error}", error)
            raise
        finally:
            self._runner = None

    async def stop(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - fixed by the contract
        """Deliver what is appended, for at most ``timeout`` seconds; cancel and report what still runs; close the log.

        A last "system" snapshot is made. Everything is durable on return. Idempotent; also works after :meth:`run`
        was cancelled, and from a handler. Raises BusStateError on another loop than that of :meth:`run`, and
        what closing raises: LogPoisonedError, StorageError.
        """
        runner = self._runner
        if runner is not None:
            if runner.loop is not asyncio.get_running_loop():
                raise BusStateError("the bus runs on another event loop")
            await runner.settle(timeout)
            await runner.end()
        self._delivery.pressure.end()  # also of a run that was cancelled before its first step
        self._is_stopped = True  # ORDER: first, or a publish from another thread would open the log again
        log, self._log = self._log, None
        if log is not None and not log.is_closed:
            await self._house.finish()
        await asyncio.to_thread(self._delivery.detach)
        await asyncio.to_thread(self._log_store.close)

    async def __aenter__(self) -> Self:
        log = await self._opened(again=True)
        if self._runner is not None or self._is_starting:
            raise BusStateError("the bus is running already")
        self._background = asyncio.create_task(self._deliver(self._begin(log)), name="aresbus run")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        background, self._background = self._background, None
        try:
            await self.stop()
        except BaseException:
            # An end that was cut short, by a cancellation or a failing disk, must not wait for one that never comes.
            if background is not None:
                background.cancel()
            raise
        finally:
            if background is not None:
                await asyncio.wait([background])
        if background is not None and kind is None and not background.cancelled():
            background.result()

    @property
    def log(self) -> Log:
        """The log, opened if need be, which blocks for the disk; LogClosedError after :meth:`stop`."""
        return self._log or self._open()

    async def _opened(self, *, again: bool = False) -> Log:
        log = self._log
        return await asyncio.to_thread(self._open, again=again) if log is None or log.is_closed else log

    def _open(self, *, again: bool = False) -> Log:
        """The open log; ``again``: also after stop. Blocks for the disk at the first use."""
        with self._opening:
            if self._log is not None and not self._log.is_closed:
                return self._log
            if self._is_stopped and not again:
                raise LogClosedError("the bus was stopped")
            log = self._open_on_record()
            self._log, self._is_stopped = log, False
        unfinished = "; ".join(f"{key}: {why}" for key, why in sorted(NOT_YET.items()))
        logger.warning("configuration keys without effect yet: %s", unfinished)
        return log

    def _open_on_record(self) -> Log:
        store = self._log_store
        was_open = store.is_open
        log = store.open()
        try:
            if log.audit_trail is not None:
                with log.audit_trail.act("bus.configure", self.config.to_dict()):
                    pass
            self._delivery.attach(log)
            self._house.attached()
        except BaseException:
            self._delivery.detach()
            if not was_open:
                store.close()
            raise
        return log

    # Publishing

    def publish(  # noqa: PLR0917 - fixed by the contract
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
        always raises StorageError and its kin, VersionConflictError, and TypeError or ValueError for a wrong
        argument; they too are logged at the call.
        """
        pressure = self._delivery.pressure
        try:
            known = _known_type(event_type)
            if durability is not None and durability not in DURABILITIES:
                raise ValueError(f"durability: got {durability!r}, takes {', '.join(DURABILITIES)}")  # noqa: TRY301
            if self._delivery.roster.blocking:
                pressure.refuse_feeding_itself()
            if self.config.correlation_tracking:
                handled = handled_event.get()
                if handled is not None:
                    correlation_id, causation_id = inherit(handled, correlation_id, causation_id)
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
            event = log._publish(  # noqa: SLF001 - the engine's door for the bus
                known, data, source, correlation_id, causation_id, aggregate_id, tags,
                event_id, event_time_ns, schema_version, expected_version, is_valid,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - raised when it is awaited
            return self._refused(event_type, error)
        self._delivery.frontier.hold(event)
        self._counters.events_published += 1
        must_settle = (durability is not None or log.durability != "interval") and waits_for_disk(
            log, durability
        )
        if self._delivery.roster.blocking and pressure.over() is not None:
            return Publication(
                event, later=pressure.held(partial(self._settled, log, event, must=must_settle))
            )
        if must_settle:
            return Publication(event, later=partial(self._settler.settled, log, event))
        return Publication(event)

    async def _settled(self, log: Log, event: Event, *, must: bool) -> str:
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
        is_input = isinstance(error, REFUSED)
        if is_input:
            self._counters.events_rejected += 1
        self._troubles.report(f"publish {type(error).__name__}", f"publish({event_type!r}): {error}", error)
        return Publication(None, error if self._strict or not is_input else None)

    async def _save_first(self, foreign: ForeignStore, event: Event, *, is_valid: bool | None) -> str:
        return await foreign.save_and_deliver(await self._opened(), event, is_valid=is_valid)

    # Delivering by hand

    async def process_pending(self) -> int:
        """One delivery pass, for tests and scripts that do not :meth:`run`; how many deliveries were made.

        Each subscription takes at most ``batch_size`` events; ``bus.event_queue.empty()`` says whether more wait.
        Raises BusStateError while the bus runs on another loop.
        """
        runner = self._runner
        if runner is not None and runner.loop is not asyncio.get_running_loop():
            raise BusStateError("the bus runs on another event loop")
        await self._opened()
        delivery = self._delivery
        has_more = True
        while has_more:
            has_more = delivery.dispatch(DISPATCH_AT_ONCE)
            await asyncio.sleep(0)
        delivery.take_woken()
        ready = [one for one in delivery.roster.all() if one.has_work]
        counts = await asyncio.gather(*(delivery.drain(one, self.config.batch_size) for one in ready))
        if self._house.is_due or any(one.is_durable for one in ready):
            await self._house.keep()
        return sum(counts)

    # The past

    async def replay_events(
        self,
        aggregate_id: str | None = None,
        from_sequence: int = 0,
        to_sequence: int | None = None,
        event_types: Iterable[str] | None = None,
    ) -> list[Event]:
        """Stored events, oldest first, both ends inclusive; nothing is delivered to subscriptions."""
        if self._foreign is None:
            await self._opened()
        self._counters.replays_performed += 1
        return await self.event_store.get_events(aggregate_id, from_sequence, to_sequence, event_types)

    async def rebuild_from_events(
        self, aggregate_id: str, target_sequence: int | None = None
    ) -> dict[str, Any]:
        """The aggregate's state, now or after ``target_sequence``: newest usable snapshot plus later events.

        Raises TruncatedError where events that it needs are no longer kept, and what a reducer raises.
        """
        if self._foreign is None:
            await self._opened()
        return await self._snapshots.rebuild(aggregate_id, target_sequence)


def _known_type(event_type: Any) -> str:
    known = event_type_of(event_type)
    if known is None:
        raise unknown_type(event_type)
    return known


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
