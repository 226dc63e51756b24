"""Where the durable subscriptions of a log stand, as their own memories say: for whoever must not take their events away.

Owns the names of the records that say so, and reading them beside their writers. Changes nothing. What else a subscription
remembers is its own business.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from aresbus import _core
from aresbus.places import Anchor, Lost

__all__ = ["CHECKPOINT", "FOLDER", "NAMED", "Standing", "folders_in", "standings_in"]

FOLDER = "subscriptions"
NAMED, CHECKPOINT = "named", "checkpoint"


class Standing(NamedTuple):
    """A durable subscription: everything before ``next_seq`` it has taken or parked."""

    name: str
    next_seq: int


def folders_in(log_path: str | os.PathLike[str]) -> list[Path]:
    """Where the memories of all durable subscriptions of a log are; what is no folder is somebody else's."""
    folder = Path(log_path) / FOLDER
    return sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


def standings_in(log_path: str | os.PathLike[str]) -> Iterator[Standing]:
    """How far each durable subscription of a log came, as it last stored. Blocks for the disk.

    One that has stored no place yet has taken nothing. Raises what opening their memories for reading raises.
    """
    for folder in folders_in(log_path):
        try:
            # It lies within the folder of a log that is open: whoever opened that has answered for the file system.
            memory = _core.Log(folder, mode="r", force_filesystem=True)
        except FileNotFoundError:
            continue
        with memory:
            # Beside its writer: what lets records go says the newest of them again, behind what goes.
            newest = memory.read(types=CHECKPOINT, direction="backward", limit=1, on_message=_pass_over)
            checkpoint = next(newest, None)
            named = next(memory.read(types=NAMED, limit=1, on_message=_pass_over), None)
            if named is not None:
                next_seq = 0 if checkpoint is None else Anchor(**checkpoint.data).seq + 1
                yield Standing(str(named.data["name"]), next_seq)


def _pass_over(_lost: Lost) -> None:
    """Who asks for any record, or for the newest one, need not know of those that are gone."""
