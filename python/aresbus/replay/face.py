"""A replay as its user sees it: a bus for strategies, controls, and what came of it.

Owns the public class and its wiring; playing is player.py's. Invariants: the part that a strategy uses is that of
EnhancedEventBus, so that one and the same object runs live and in a replay; nothing is opened for writing but the output.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from aresbus._core import Durability, Event, Expected, ManualClock
from aresbus.audit import AuditTrail
from aresbus.clock import Clock
from aresbus.errors import BusStateError
from aresbus.log import Log
from aresbus.publishing import Publication
from aresbus.reader_trails import reader_trail
from aresbus.replay.effects import BlockedEffect, Effects
from aresbus.replay.handlers import ReplaySubscription
from aresbus.replay.made import Made, known_type
from aresbus.replay.pace import Pace, RealTimer, Timer
from aresbus.replay.player import Player
from aresbus.replay.recorded import Recorded
from aresbus.replay.report import ReplayReport
from aresbus.replay.terms import refuse_terms
from aresbus.subscriptions import Callback, Selection

__all__ = ["Replay"]


class Replay:
    """Replays a range of ``source`` through handlers. A strategy uses it as it uses a bus: see StrategyBus.

    The range: ``after`` exclusive, ``up_to`` inclusive, ``since``, ``until``, ``types``, ``aggregate_id`` as of
    :meth:`Log.read`; ``without`` leaves types out. It ends where the log ends now. ``time`` says whether clock and
    pace go by the time of the append or that which the event speaks of. ``speed``: None as fast as it goes, 1.0 as
    recorded, 60 a minute a second.

    What handlers publish goes to a new log at the path ``output``, or to memory (256 MiB, oldest go first), never into
    ``source``; readable as :attr:`output`. ``seed`` changes the ids of these events, and only them.

    ``allow`` names the sinks with side effects that may act; that is recorded in ``trail``, by default the audit trail of
    ``source``. ``on_error``: "stop" raises HandlerError once the event is handled to its end, "go_on" counts and logs.
    ``correlation_tracking=False``: what handlers publish inherits no ids, as on a bus with that key. ``present`` turns a
    stored event into those that handlers get (upcasting). ``on_taken`` sees each event from the log
    and ``on_made`` each one published, before their handlers do. ``timer`` is what waits (tests).

    Raises ConfigError, ValueError, TypeError, and what Log.read raises. Not thread-safe but for :meth:`pause` and
    :meth:`resume`. Use it as a context manager, or :meth:`close` it, where ``output`` is a path.
    """

    def __init__(
        self,
        source: Log,
        *,
        after: int | None = None,
        up_to: int | None = None,
        since: Any = None,
        until: Any = None,
        types: Iterable[str] | str | None = None,
        without: Iterable[str] | str = (),
        aggregate_id: str | None = None,
        speed: float | None = None,
        time: Literal["append", "event"] = "append",
        output: str | os.PathLike[str] | None = None,
        seed: str | int = 0,
        allow: Iterable[str] | str = (),
        trail: AuditTrail | None = None,
        on_error: Literal["stop", "go_on"] = "stop",
        correlation_tracking: bool = True,
        present: Callable[[Event], Iterable[Event]] | None = None,
        on_taken: Callable[[Event], object] | None = None,
        on_made: Callable[[Event], object] | None = None,
        timer: Timer | None = None,
    ) -> None:
        if on_error not in ("stop", "go_on"):
            raise ValueError(f"on_error: got {on_error!r}, takes 'stop' or 'go_on'")
        pace = Pace(speed, timer or RealTimer())
        recorded = Recorded(
            source, after=after, up_to=up_to, since=since, until=until, time=time,
            types=None if types is None else _names(types), without=_names(without), aggregate_id=aggregate_id,
        )  # fmt: skip
        effects = Effects(_names(allow))
        trail = _trail_for(source, trail, effects)
        first = recorded.peek()
        manual = ManualClock(0 if first is None else recorded.time_of(first))
        self.clock: Clock = Clock(manual)
        """The time of the event at hand; before the first one, already its time."""
        self._player = Player(
            recorded=recorded,
            made=Made(source, output, manual, seed, inherits=correlation_tracking),
            clock=manual,
            pace=pace,
            effects=effects,
            trail=trail,
            stops_on_error=on_error == "stop",
            present=present,
            on_taken=on_taken,
            on_made=on_made,
        )
        self._refused = 0

    # What a strategy uses

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
        """As of the bus, into :attr:`output`; delivered once the event at hand is handled, before the next from the log.

        ``expected_version`` is held against what this replay has published; ``durability`` changes nothing. Awaiting
        raises whatever was refused, as a strict bus does; it is logged and counted at the call.
        """
        del durability
        try:
            event = self._player.made.publish(
                event_type, data, source, correlation_id, causation_id, aggregate_id, tags,
                event_id, event_time_ns, schema_version, expected_version,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - raised when it is awaited
            self._refused += 1
            kind = f"publish {type(error).__name__}"
            self._player.handlers.troubles.report(
                kind, f"publish({event_type!r}) in a replay: {error}", error
            )
            return Publication(None, error)
        return Publication(event)

    def subscribe(
        self,
        event_type: str,
        callback: Callback,
        *,
        aggregate_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        where: Callable[[Event], Any] | None = None,
        **terms: Any,
    ) -> ReplaySubscription:
        """Call ``callback(event)``, sync or async, for every event of the type delivered from now on.

        ``event_type``, a type or a pattern, ``aggregate_id``, ``tags`` and ``where`` choose as they do live. Handlers of one
        event are called in the order of subscribing, each to its end. Raises UnknownEventTypeError, TypeError, and
        ConfigError for the other terms of a live subscription, which a replay cannot keep: it says of each why.
        """
        text = event_type if Selection.is_pattern(event_type) else known_type(event_type)
        selection = Selection(text, aggregate_id, tags, where)
        refuse_terms(terms, selection.problems())
        return self._player.handlers.add(selection, callback)

    def unsubscribe(self, event_type: str, callback: Callback) -> None:
        """End every subscription of this callback to this type; nothing if there is none."""
        self._player.handlers.remove_callback(event_type, callback)

    # Controls

    def run(self) -> ReplayReport:
        """Replay to the end of the range, or until a handler calls :meth:`pause`; calling it again goes on.

        Runs an event loop of its own for the time of the call; in asyncio await :meth:`run_async`. Raises HandlerError,
        BusStateError, UpcastError and what reading raises.
        """
        _refuse_in_loop("run")
        self._player.is_paused = False
        return asyncio.run(self._run(waits=False))

    async def run_async(self) -> ReplayReport:
        """As :meth:`run`, on this loop; while paused it waits for :meth:`resume`.

        Cancelled in the middle of an event, it has taken that event.
        """
        return await self._run(waits=True)

    def step(self, n: int = 1) -> int:
        """Take the next ``n`` events whatever their time, each handled to its end; how many there were."""
        _refuse_in_loop("step")
        return asyncio.run(self.step_async(n))

    async def step_async(self, n: int = 1) -> int:
        """As :meth:`step`, on this loop; also while :meth:`run_async` is paused. Raises BusStateError while it runs."""
        if n < 1:
            raise ValueError(f"n: got {n}, takes a whole number from 1 on")
        return await self._player.step(n)

    def pause(self) -> None:
        """Stop once the event at hand is handled to its end. From any thread."""
        self._player.is_paused = True
        self._player.wake()

    def resume(self) -> None:
        """Go on from where it was paused, in recorded time too. From any thread."""
        self._player.is_paused = False
        self._player.wake()

    def seek(self, seq: int) -> None:
        """Go on with the first event from position ``seq`` on that matches; the clock goes there, also back.

        Handlers keep their state, which is theirs to reset, and the digests go on. Raises ValueError outside the range.
        """
        self._player.seek(seq)

    @property
    def speed(self) -> float | None:
        """Seconds of recorded time a second; None as fast as it goes. May be set at any time."""
        return self._player.pace.speed

    @speed.setter
    def speed(self, speed: float | None) -> None:
        self._player.pace.change(speed)
        self._player.wake()

    def close(self) -> None:
        """Close :attr:`output` where it is on disk. Idempotent."""
        self._player.made.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What came of it

    @property
    def output(self) -> Log:
        """The log of what was published: ``replay.output.read()``."""
        return self._player.made.log

    @property
    def position(self) -> int | None:
        """Position of the last event taken from the log; None before the first."""
        return self._player.position

    @property
    def is_paused(self) -> bool:
        """Whether :meth:`pause` was called and nothing went on since."""
        return self._player.is_paused

    @property
    def digest(self) -> str:
        """Of everything published so far, 64 hexadecimal digits; see :func:`digest_of`."""
        return self._player.made.digest.text()

    @property
    def input_digest(self) -> str:
        """Of everything taken from the log so far: equal where two replays read the same events of the same log."""
        return self._player.inputs.text()

    @property
    def blocked(self) -> list[BlockedEffect]:
        """The newest calls with side effects that were held back, oldest first."""
        return list(self._player.effects.records)

    def report(self) -> ReplayReport:
        """How far it is now."""
        return ReplayReport(
            replayed=self._player.replayed,
            delivered=self._player.handlers.delivered,
            failed=self._player.handlers.failed,
            published=self._player.made.count,
            refused=self._refused,
            performed=dict(self._player.effects.performed),
            blocked=dict(self._player.effects.blocked),
            position=self._player.position,
            is_finished=self._player.recorded.peek() is None and not self._player.made.queue,
            digest=self.digest,
            input_digest=self.input_digest,
        )

    async def _run(self, *, waits: bool) -> ReplayReport:
        await self._player.run(waits=waits)
        return self.report()


def _names(given: Iterable[str] | str) -> tuple[str, ...]:
    return (str(given),) if isinstance(given, str) else tuple(str(one) for one in given)


def _trail_for(source: Log, trail: AuditTrail | None, effects: Effects) -> AuditTrail | None:
    """Where allowed effects go on record; None where none are allowed, or the log keeps no record by its owner's choice."""
    if not effects.allowed or trail is not None:
        return trail
    return reader_trail(source) if source.mode == "r" else source.audit_trail


def _refuse_in_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BusStateError(f"an event loop is running here: await {name}_async() instead of {name}()")
