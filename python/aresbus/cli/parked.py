"""``aresbus parked``: deliveries that were set aside, each with its event, how often it was tried, and why it failed.

Owns the lines, and what may be done to them: an act on record, refused while a process uses the subscription, whose memory
it holds. Looking opens everything for reading, so it answers while the subscriptions run.
"""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from aresbus.cli.terminal import write_json
from aresbus.log import Log, open as open_log
from aresbus.places import Anchor
from aresbus.readable import printable
from aresbus.subscriptions import ParkedDelivery
from aresbus.subscriptions.checkpoints import SubscriptionLog, names_in

__all__ = ["act", "run"]

FOUND = 1


def run(arguments: Namespace) -> int:
    """Print one line each; 1 if there are any, 2 where the name is unknown."""
    with open_log(arguments.log, mode="r") as log:
        names = [arguments.name] if arguments.name is not None else list(names_in(log.path or ""))
        found = [(name, one) for name in names for one in _parked(log, name)]
    if arguments.json:
        write_json([_described(name, one) for name, one in found])
    else:
        for name, one in found:
            print(printable(f"{name}  {one.error.message}"))
    return FOUND if found else 0


def act(arguments: Namespace, word: str, do: Callable[[SubscriptionLog, Anchor], None]) -> int:
    """Do it to the deliveries chosen, and say to how many; 2 where the name is unknown or in use."""
    with open_log(arguments.log, mode="r") as log:
        if arguments.name not in names_in(log.path or ""):
            raise FileNotFoundError(f"no durable subscription is named {arguments.name!r} there")
        with log.act(f"parked.{word}", {"name": arguments.name, "seq": arguments.seq}) as result:
            memory = SubscriptionLog(log, arguments.name)
            try:
                parked = memory.places()
                chosen = [place for place in parked if arguments.seq in (None, place.seq)]
                for place in chosen:
                    do(memory, place)
            finally:
                memory.close()
            result["seqs"] = [place.seq for place in chosen]
    print(f"{len(chosen):,} of {len(parked):,} parked: {word}")
    return 0


def _parked(log: Log, name: str) -> list[ParkedDelivery]:
    memory = SubscriptionLog(log, name, mode="r")
    try:
        return memory.deliveries()
    finally:
        memory.close()


def _described(name: str, one: ParkedDelivery) -> dict[str, Any]:
    return {
        "name": name,
        "seq": one.error.seq,
        "key": one.key,
        "attempts": one.attempts,
        "is_queued": one.is_queued,
        "reason": one.error.message,
        "event": one.event.to_dict(),
    }
