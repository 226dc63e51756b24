"""The acts on a log as objects: every trail read, intents joined with their outcomes, filtered and in order.

Owns what an entry of a trail means to whoever asks; writing them is audit's business. Changes nothing, and may run
beside a live writer. Invariant: an entry that is no act is an error with its place, never left out.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aresbus._core import Event, Log
from aresbus.audit import DONE, FAILED, INTENT, INTERRUPTED, OUTCOME
from aresbus.errors import AuditError
from aresbus.events import datetime_of_ns, ns_of_datetime
from aresbus.readable import time_text
from aresbus.reader_trails import NAME, trails_of

__all__ = ["OUTCOMES", "Act", "Outcome", "acts_in", "known_trails", "matching", "moment_ns", "read_acts"]

Outcome: TypeAlias = Literal["done", "failed", "interrupted", "open"]
"""``open``: no outcome is stored. The act goes on, or its process died and no writer has opened the log since."""
OUTCOMES: tuple[Outcome, ...] = (DONE, FAILED, INTERRUPTED, "open")

WRITER = "writer"


@dataclass(frozen=True, slots=True)
class Act:
    """One administrative act: who did what to the log, when, why, and how it ended."""

    name: str
    """Like ``log.open``."""
    act_id: str
    begun_ns: int
    """When the intent was stored, ns since 1970 UTC."""
    ended_ns: int | None
    """When the outcome was stored; None while it is open."""
    outcome: Outcome
    actor: dict[str, Any]
    """``name``, ``user`` (the account), ``host``, ``pid``, ``package_version``, ``reason``."""
    details: dict[str, Any]
    """What was intended."""
    result: dict[str, Any]
    """What came of it; ``error`` where it failed."""
    trail: str
    """"writer" for the trail of the log's writers, else the name of the reading process."""
    seq: int
    """Position of the act's first entry in its trail."""

    @property
    def begun(self) -> datetime:
        """:attr:`begun_ns` as an aware datetime, to the microsecond."""
        return datetime_of_ns(self.begun_ns)

    @property
    def ended(self) -> datetime | None:
        """:attr:`ended_ns` as an aware datetime, to the microsecond."""
        return None if self.ended_ns is None else datetime_of_ns(self.ended_ns)

    def to_dict(self) -> dict[str, Any]:
        """The act for JSON; the times also as text."""
        return {
            "begun": time_text(self.begun_ns),
            "ended": None if self.ended_ns is None else time_text(self.ended_ns),
            **{name: getattr(self, name) for name in self.__slots__},
        }


def read_acts(
    log: Log | str | os.PathLike[str],
    *,
    act: str | None = None,
    actor: str | None = None,
    since: datetime | int | None = None,
    until: datetime | int | None = None,
    outcome: Outcome | None = None,
) -> list[Act]:
    """What was done to a log, oldest first: from the trails of its writers and of every process that read it.

    ``act``: acts of this name. ``actor``: of this name or account. ``since`` inclusive, ``until`` exclusive: begun then;
    aware datetimes or ns since 1970. ``outcome``: ended so. A log in memory has none. All acts are held in memory, about
    2 kB each. Blocks for the disk; any thread.

    Raises FileNotFoundError where there is no log, CorruptionError for a damaged trail, AuditError for an entry that is
    no act, ValueError for a naive datetime or an unknown outcome.
    """
    path = log.path if isinstance(log, Log) else log
    found = [] if path is None else [one for folder in known_trails(path) for one in acts_in(folder)]
    return matching(found, act=act, actor=actor, since=since, until=until, outcome=outcome)


def matching(
    acts: Iterable[Act],
    *,
    act: str | None = None,
    actor: str | None = None,
    since: datetime | int | None = None,
    until: datetime | int | None = None,
    outcome: Outcome | None = None,
) -> list[Act]:
    """Those that match, oldest first, as :func:`read_acts` says."""
    if outcome is not None and outcome not in OUTCOMES:
        raise ValueError(f"outcome: got {outcome!r}, takes {', '.join(OUTCOMES)}")
    since_ns, until_ns = moment_ns(since), moment_ns(until)
    found = [
        one
        for one in acts
        if (act is None or one.name == act)
        and (actor is None or actor in (one.actor.get("name"), one.actor.get("user")))
        and (since_ns is None or one.begun_ns >= since_ns)
        and (until_ns is None or one.begun_ns < until_ns)
        and (outcome is None or one.outcome == outcome)
    ]
    return sorted(found, key=lambda one: (one.begun_ns, one.trail, one.seq))


def known_trails(path: str | os.PathLike[str]) -> list[Path]:
    """The folders of the trails of the log at ``path``. Raises FileNotFoundError where there is no log."""
    trails = trails_of(path)
    if not trails and not (Path(path) / "META").exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no log in {os.fspath(path)}")
    return trails


def acts_in(folder: str | os.PathLike[str]) -> list[Act]:
    """The acts of one trail, in the order of their first entries; none where it is only being made.

    Raises CorruptionError, AuditError, StorageError.
    """
    name = Path(folder).name
    trail = name if NAME.fullmatch(name) else WRITER
    found: dict[int, Act] = {}
    begun: dict[str, Act] = {}
    # Wherever it lies: nothing is written, and copies kept as evidence end up on file systems of all kinds.
    try:
        log = Log(folder, mode="r", force_filesystem=True)
    except FileNotFoundError:
        return []
    with log:
        for event in log.read():
            _check_entry(event, folder)
            one = _begun(event, trail)
            if event.data["phase"] == INTENT:
                begun[one.act_id] = one
            else:
                # An outcome alone is a note: something that happened within another act.
                one = _ended(event, begun.pop(one.act_id, one))
            found[one.seq] = one
    return list(found.values())


def moment_ns(moment: datetime | int | None) -> int | None:
    """A moment as ns since 1970. Raises ValueError for a naive datetime."""
    if isinstance(moment, datetime):
        return ns_of_datetime(moment)
    return moment


def _check_entry(event: Event, folder: str | os.PathLike[str]) -> None:
    """Raises AuditError unless the entry is what an AuditTrail writes."""
    data = event.data
    if (
        isinstance(data, dict)
        and isinstance(data.get("details"), dict)
        and isinstance(data.get("actor"), dict)
    ):
        phase, outcome = data.get("phase"), data.get("outcome")
        if phase == INTENT or (phase == OUTCOME and outcome in (DONE, FAILED, INTERRUPTED)):
            return
    path = os.fspath(folder)
    raise AuditError(f"the entry {event.seq} of {path} is no record of an act", path=path, seq=event.seq)


def _begun(event: Event, trail: str) -> Act:
    data = event.data
    return Act(
        name=str(event.event_type),
        act_id=event.correlation_id or "",
        begun_ns=event.ts_ns or 0,
        ended_ns=None,
        outcome="open",
        actor=data["actor"],
        details=data["details"] if data["phase"] == INTENT else {},
        result={},
        trail=trail,
        seq=event.seq or 0,
    )


def _ended(event: Event, act: Act) -> Act:
    data = event.data
    return replace(act, ended_ns=event.ts_ns, outcome=data["outcome"], result=data["details"])
