"""Replay: a range of a log through handlers again, with a clock, side effects held back, and a digest of what came of it.

Owns the public names of the package. `recorded` is what comes out of the log, `made` what the handlers publish, `pace`
when it is time, `effects` what may leave the process, `digest` what two replays are compared by; `player` plays, `face`
is what users see. Invariant: nothing here ever appends to the log that is replayed.
"""

from aresbus.replay.digest import digest_of
from aresbus.replay.effects import BlockedEffect, gate, sink
from aresbus.replay.face import Replay
from aresbus.replay.report import ReplayReport
from aresbus.replay.strategy import StrategyBus

__all__ = ["BlockedEffect", "Replay", "ReplayReport", "StrategyBus", "digest_of", "gate", "sink"]
