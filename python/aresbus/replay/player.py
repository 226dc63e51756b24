"""The playing of a replay: one event after another, each when it is due and each to its end.

Owns the order of deliveries, the clock's movement, and the waits. Invariants: an event is handled to its end, with
everything that its handlers publish, before the next one is taken from the log, so that two replays deliver alike; the
clock stands at the event's recorded time meanwhile and never steps back but by a seek; no failure is passed over in
silence.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from aresbus._core import Event, ManualClock
from aresbus.audit import AuditTrail
from aresbus.correlation import handled_event
from aresbus.errors import BusStateError, ConfigError
from aresbus.replay.digest import Digest, input_form
from aresbus.replay.effects import Effects, current_effects
from aresbus.replay.handlers import Handlers
from aresbus.replay.made import Made
from aresbus.replay.pace import Pace
from aresbus.replay.recorded import Recorded

__all__ = ["Player"]

TURN_EVERY = 256
"""Events handled before the loop gets its turn: a replay at full speed can be paused and cancelled."""


class Player:
    """Plays ``recorded`` and what it makes through ``handlers``. Used on one loop, but for ``pause`` and ``resume``."""

    def __init__(
        self,
        *,
        recorded: Recorded,
        made: Made,
        clock: ManualClock,
        pace: Pace,
        effects: Effects,
        trail: AuditTrail | None,
        stops_on_error: bool,
        present: Callable[[Event], Iterable[Event]] | None,
        on_taken: Callable[[Event], object] | None,
        on_made: Callable[[Event], object] | None,
    ) -> None:
        """Play nothing yet. The arguments are explained at Replay."""
        self.recorded: Recorded = recorded
        self.made: Made = made
        self.pace: Pace = pace
        self.effects: Effects = effects
        self.handlers: Handlers = Handlers(stops_on_error=stops_on_error)
        self.inputs: Digest = Digest()
        self.replayed: int = 0
        self.position: int | None = None
        self.is_paused: bool = False
        self._clock, self._trail = clock, trail
        self._present = present
        self._on_taken, self._on_made = on_taken, on_made
        self._is_running = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed, self._turn = asyncio.Event(), asyncio.Lock()

    # Controls

    async def run(self, *, waits: bool) -> None:
        """Play to the end; paused, wait for ``resume`` or, unless ``waits``, return."""
        if self._is_running:
            raise BusStateError("the replay is running already")
        self._is_running = True
        self._loop = asyncio.get_running_loop()
        self._changed, self._turn = asyncio.Event(), asyncio.Lock()
        try:
            with self._entered():
                await self._deliver_made()
                while await self._is_due(waits=waits):
                    async with self._turn:
                        await self._take_next()
                    if self.replayed % TURN_EVERY == 0:
                        await asyncio.sleep(0)
        finally:
            self._is_running, self._loop = False, None
            self.pace.hold()

    async def step(self, n: int) -> int:
        """Take ``n`` events whatever their time; how many there were."""
        if self._is_running and not self.is_paused:
            raise BusStateError("the replay is running: pause() it before a step")
        if self.handlers.task is not None and self.handlers.task is asyncio.current_task():
            raise BusStateError("a handler cannot step the replay that is waiting for it")
        if not self._is_running and not self._turn.locked():
            self._turn = asyncio.Lock()  # the last one may belong to a loop that is no more
        taken = 0
        async with self._turn:
            with self._entered():
                while taken < n and await self._take_next():
                    taken += 1
        self.pace.begin_at(self._clock.time_ns())
        return taken

    def seek(self, seq: int) -> None:
        """Go on at ``seq``, the clock too."""
        self.recorded.seek(seq)
        event = self.recorded.peek()
        if event is not None:
            self._clock.set_ns(self.recorded.time_of(event))
        self.pace.begin_at(None)
        self.wake()

    def wake(self) -> None:
        """Let a run that waits look again. From any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._changed.set)

    # Playing

    async def _is_due(self, *, waits: bool) -> bool:
        """Wait until the next event may be taken; False at the end, and when paused with nobody to wait for."""
        while True:
            self._changed.clear()
            if self.is_paused:
                self.pace.hold()
                if not waits:
                    return False
                await self._changed.wait()
                continue
            event = self.recorded.peek()
            if event is None:
                return False
            seconds = self.pace.seconds_until(self.recorded.time_of(event))
            if seconds <= 0.0:
                return True
            await self.pace.timer.wait(self._changed, seconds)

    async def _take_next(self) -> bool:
        """Take one event from the log and handle it to its end; False where there is none."""
        await self._deliver_made()
        event = self.recorded.peek()
        if event is None:
            return False
        self._refuse_twin(event)
        self.recorded.take()
        now = self.recorded.time_of(event)
        if now > self._clock.time_ns():
            self._clock.set_ns(now)
        self.position = event.seq
        self.replayed += 1
        self.inputs.add(input_form(event))
        if self._on_taken is not None:
            self._on_taken(event)
        for one in (event,) if self._present is None else self._present(event):
            one._set_replay()  # noqa: SLF001 - the engine keeps it for us
            await self.handlers.deliver(one)
        await self._deliver_made()
        return True

    async def _deliver_made(self) -> None:
        """Deliver what was published, and what that makes handlers publish, in the order of publishing."""
        queue, turns = self.made.queue, 0
        while queue:
            turns += 1
            if turns % TURN_EVERY == 0:
                await asyncio.sleep(0)  # handlers that feed each other for ever can be cancelled too
            event = queue.popleft()
            if self._on_made is not None:
                self._on_made(event)
            await self.handlers.deliver(event)
        failure = self.handlers.take_failure()
        if failure is not None:
            raise failure

    def _refuse_twin(self, event: Event) -> None:
        """Refuse to deliver an event twice: as its handler published it then, and as one publishes it now."""
        text = str(event.event_type)
        if text not in self.made.types or event.causation_id is None or not self.handlers.wanting(event):
            return
        if self.recorded.types is not None and text in self.recorded.types:
            return  # the caller named it
        problem = (
            f"{text}: handlers publish it in this replay, and seq {event.seq} is one that a handler published live: "
            f"leave the recorded ones out with without={text!r}, or name in types all that is to be taken"
        )
        raise ConfigError(f"the replay cannot go on: {problem}", problems=[problem])

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Around all that calls handlers: they are inside the replay, and what they may do to the world is on record."""
        effects, handled = current_effects.set(self.effects), handled_event.set(None)
        try:
            with self._on_record():
                yield
        finally:
            handled_event.reset(handled)
            current_effects.reset(effects)

    @contextmanager
    def _on_record(self) -> Iterator[None]:
        if not self.effects.allowed or self._trail is None:
            yield
            return
        range_ = {"position": self.position, "up_to": self.recorded.last}
        with self._trail.act("replay.effects", {"allowed": sorted(self.effects.allowed), **range_}) as result:
            try:
                yield
            finally:
                result |= {"position": self.position, "performed": dict(self.effects.performed)}
