"""Processes for the tests of backups: one that writes until it is killed, one that takes a backup, one that restores,
one that accepts a loss.

Owns no test. Run as ``python backup_children.py VERB ARGUMENTS``; says on stdout what the tests wait for.
"""

import sys

import aresbus


def write(folder: str) -> None:
    with aresbus.open(folder, segment_bytes=65_536) as log:
        n = 0
        while True:
            log.append("order_placed", {"n": n, "note": "x" * 150}, aggregate_id=f"order-{n % 3}")
            n += 1
            if n == 2_000:
                print("writing", flush=True)


def backup(folder: str, target: str) -> None:
    with aresbus.open(folder, mode="r") as log:
        print("begun", flush=True)
        log.backup(target)
    print("done", flush=True)


def restore(source: str, target: str) -> None:
    print("begun", flush=True)
    aresbus.restore(source, target)
    print("done", flush=True)


def accept(folder: str) -> None:
    print("begun", flush=True)
    aresbus.open(folder, recover="accept_loss", sealing="off").close()
    print("done", flush=True)


if __name__ == "__main__":
    {"write": write, "backup": backup, "restore": restore, "accept": accept}[sys.argv[1]](*sys.argv[2:])
