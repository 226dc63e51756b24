"""``aresbus prove``: that an event is among those a head speaks of, for somebody who has no log and no aresbus.

Owns the choice of the head: of several that were kept, the oldest that speaks of the event.
"""

from argparse import Namespace

from aresbus.cli.heads import heads_of
from aresbus.cli.terminal import write_json
from aresbus.errors import ConfigError
from aresbus.evidence import TreeHead
from aresbus.log import open as open_log

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print the proof of one event."""
    with open_log(arguments.log, mode="r") as log:
        head = None if arguments.against is None else _oldest(arguments.against, log.log_id, arguments.seq)
        try:
            proof = log.prove(arguments.seq, head)
        except ValueError as error:
            raise ConfigError(str(error), problems=[str(error)]) from None
    write_json(proof.to_dict())
    return 0


def _oldest(given: str, log_id: str, seq: int) -> TreeHead:
    heads = [head for head in heads_of(given) if head.log_id == log_id and head.tree_size > seq]
    if not heads:
        problem = f"--against: no head in it speaks of the event at {seq} of log {log_id}"
        raise ConfigError(problem, problems=[problem])
    return min(heads, key=lambda head: head.tree_size)
