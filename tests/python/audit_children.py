"""Processes that die in the middle of an act, for test_audit.py. Owns no assertion.

python audit_children.py ACT PATH: each prints "ready" when it stands where it is to be killed, or to be looked at.
"""

import os
import sys

import aresbus


def ready() -> None:
    """Say so, then wait until the parent closes our input."""
    print("ready", flush=True)
    sys.stdin.read()


def write(path: str) -> None:
    """A writer in the middle of an act."""
    with aresbus.open(path) as log, log.act("log.shrink", {"to": 1}):
        ready()


def read(path: str) -> None:
    """A reader in the middle of an act."""
    with aresbus.open(path, mode="r") as log, log.act("replay", {"sinks": ["orders"]}, reason="a drill"):
        ready()


def fork(path: str) -> None:
    """A reader that has acted forks; parent and child then act again, the child while its parent is in an act."""
    with aresbus.open(path, mode="r") as log, log.act("parent"):
        child = os.fork()
        if child == 0:
            with aresbus.open(path, mode="r") as own, own.act("child"):
                pass
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("ready" if status == 0 else f"the child ended with {status}", flush=True)


if __name__ == "__main__":
    {"write": write, "read": read, "fork": fork}[sys.argv[1]](sys.argv[2])
