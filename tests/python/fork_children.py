"""A program that starts processes while its log is open. Run as ``python fork_children.py METHOD PATH``; a file, since spawn imports it.

Owns no check: it says in one line what became of each call in the child.
"""

import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import aresbus
from aresbus import AresbusError

log: aresbus.Log | None = None
"""What a forked child inherits."""
CHILDREN = 15
PATIENCE_SECONDS = 30


def outcome(act: Callable[[], object]) -> str:
    """Name of the error, or what came of it."""
    try:
        return str(act())
    except (AresbusError, OSError, TypeError) as error:
        return type(error).__name__


def in_child(path: str, number: int, said: "SimpleQueue[list[str]]") -> None:
    """What a child can do: with what it inherited, with its parent's log, with a log of its own."""
    inherited = log
    mine = []
    if inherited is not None:
        mine = [
            outcome(lambda: inherited.append("note", -1)),
            outcome(lambda: list(inherited.read())),
            outcome(inherited.sync),
            outcome(inherited.close),
        ]
    with aresbus.open(path, mode="r") as reader:
        count = sum(1 for _ in reader.read(up_to=99))
    with aresbus.open(f"{path}-{number}", durability="group") as own:
        own.append_many([("note", n) for n in range(50)])
        last = own.append("note", 50).seq
    said.put([*mine, outcome(lambda: aresbus.open(path)), str(count), str(last)])


def main(method: str, path: str) -> None:
    """Threads append in every mode while children come and go."""
    global log  # noqa: PLW0603 - what a forked child inherits
    context = multiprocessing.get_context(method)
    log = aresbus.open(path)
    log.append_many([("note", n) for n in range(100)])
    print(outcome(lambda: pickle.dumps(log)), flush=True)
    stopping, counts = threading.Event(), []

    def append(durability: str) -> None:
        count = 0
        while not stopping.is_set():
            log.append("note", count, durability=durability)  # type: ignore[union-attr,arg-type]
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=append, args=(how,)) for how in ("none", "group", "always")]
    for thread in threads:
        thread.start()
    said: SimpleQueue[list[str]] = context.SimpleQueue()
    some = CHILDREN if method == "fork" else 2
    children = [context.Process(target=in_child, args=(path, number, said)) for number in range(some)]
    for process in children:
        process.start()
        print(*said.get(), flush=True)
        process.join(PATIENCE_SECONDS)
        print(process.exitcode, flush=True)
    stopping.set()
    for thread in threads:
        thread.join()
    print(sum(counts) + 100, log.last_seq, flush=True)
    log.close()
    assert all(Path(f"{path}-{number}").is_dir() for number in range(some))


if __name__ == "__main__":
    main(*sys.argv[1:])
