"""Processes for the tests of retention: they let go what may go, again and again, until they are killed.

Owns no test. Run as ``python retention_children.py``: each line on stdin, a verb and a folder, begins one more process, forked so
that it lives at once; all say on stdout what the tests wait for, a line with one write.
"""

import os
import signal
import sys

import aresbus
from aresbus.errors import HandlerError
from aresbus.places import anchor_of
from aresbus.subscriptions import ParkedDelivery, checkpoints

SEGMENT_BYTES = 65_536
RARE = 50
"""Every so many events one is of an aggregate that never gets another."""


def aggregate_of(n: int) -> str:
    return f"rare-{n}" if n % RARE == 0 else f"order-{n % 7}"


def let_go(folder: str) -> None:
    """Append a little, drop what is more than 150 events, for ever."""
    policy = aresbus.RetentionPolicy(max_events=150)
    with aresbus.open(folder, segment_bytes=SEGMENT_BYTES, durability="none") as log:
        n = 0 if log.last_seq is None else log.last_seq + 1
        while True:
            for _ in range(60):
                log.append("tick", {"n": n, "pad": "x" * 800}, aggregate_id=aggregate_of(n))
                n += 1
            say("passing", log.first_seq, n - 1)
            log.apply_retention(log.retention_plan(policy))
            say("passed", log.first_seq, n - 1)


def live_and_close(folder: str) -> None:
    """Drop a segment or two and append as much, three times, close, and wait to be killed."""
    with aresbus.open(folder, segment_bytes=SEGMENT_BYTES, durability="none") as log:
        n = 0 if log.last_seq is None else log.last_seq + 1
        for _ in range(3):
            # Enough stays for a closing index to be worth it.
            policy = aresbus.RetentionPolicy(max_events=max(1_300, n - log.first_seq - 75))
            say("passing", log.first_seq, n - 1)
            log.apply_retention(log.retention_plan(policy))
            say("passed", log.first_seq, n - 1)
            for _ in range(max(90, 1_500 - n)):
                log.append("tick", {"n": n, "pad": "x" * 800}, aggregate_id=aggregate_of(n))
                n += 1
        first = log.first_seq
        say("closing", first, n - 1)
    say("closed", first, n - 1)
    signal.pause()


def let_one_go(folder: str) -> None:
    """Drop the oldest segment, and wait to be killed."""
    with aresbus.open(folder, segment_bytes=SEGMENT_BYTES, durability="none") as log:
        last = log.last_seq or 0
        policy = aresbus.RetentionPolicy(max_events=last + 1 - log.first_seq - 75)
        log.apply_retention(log.retention_plan(policy))
        say("passed", log.first_seq, last)
        signal.pause()


def forget(folder: str) -> None:
    """Move a subscription on, park every 40th event and give up every second of those, for ever; let the rest go often."""
    checkpoints.SEGMENT_BYTES, checkpoints.SHRINK_EVERY = SEGMENT_BYTES, 100
    with aresbus.open(folder, mode="r") as log:
        events = list(log.read())
        memory = checkpoints.SubscriptionLog(log, "desk")
        begin = 0 if memory.checkpoint is None else memory.checkpoint.seq + 1
        for event in events[begin:]:
            place = anchor_of(event)
            if event.seq % 40 == 0:
                error = HandlerError("no", handler="h", seq=event.seq, event_id=event.event_id)
                memory.park(ParkedDelivery(event, 1, error, place, str(event.seq)))
                if event.seq % 80 == 0:
                    memory.resolve(place, "dropped")
                elif event.seq % 120 == 0:
                    memory.wish(place)
            memory.advance(place)
            say("passed", 0, event.seq)
        say("ended", 0, len(events) - 1)
        memory.close()


def say(word: str, first: int, last: int) -> None:
    os.write(1, f"{word} {first} {last}\n".encode())


def main() -> None:
    for order in sys.stdin:
        verb, folder = order.split(maxsplit=1)
        pid = os.fork()
        if pid == 0:
            acts = {"log": let_go, "closing": live_and_close, "moving": let_one_go, "memory": forget}
            acts[verb](folder.strip())
            os._exit(0)
        say("born", 0, pid)
        os.waitpid(pid, 0)
        say("dead", 0, pid)


if __name__ == "__main__":
    main()
