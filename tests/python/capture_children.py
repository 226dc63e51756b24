"""Processes that test_captures.py starts, and kills: a recorder that acknowledges, a follower that notes what it sees.

Owns no check. Run as ``python capture_children.py record|follow …``. An acknowledgement is the seq, padded to 128 bytes,
so that a pipe of one page holds 32 of them and a recorder is never far ahead of what its parent has heard.
"""

import hashlib
import os
import struct
import sys
from itertools import islice
from pathlib import Path

import aresbus
from aresbus.cli.lines import parse_line, read_feed
from aresbus.cli.record import append_message

ACKNOWLEDGEMENT = struct.Struct("<Q120x")
SIGHTING = struct.Struct("<Q16s")


def record(log_path: str, capture: str, source: str, segment_bytes: str) -> None:
    """Append what the log does not hold yet of a capture; acknowledge each event on stdout."""
    with (
        aresbus.open(log_path, segment_bytes=int(segment_bytes)) as log,
        Path(capture).open("rb") as file,
    ):
        first = 0 if log.last_seq is None else log.last_seq + 1
        for line in islice(read_feed(file), first, None):
            receipt = append_message(log, parse_line(line, source), source)
            os.write(1, ACKNOWLEDGEMENT.pack(receipt.seq))


def follow(log_path: str, last_seq: str, notes: str) -> None:
    """Note seq and digest of each event in the order seen, until ``last_seq`` or a silence of a minute."""
    with aresbus.open(log_path, mode="r") as log, Path(notes).open("wb") as file:
        for event in log.follow(timeout=60.0):
            file.write(SIGHTING.pack(event.seq, digest(str(event.event_type), event.raw)))
            if event.seq == int(last_seq):
                break


def digest(event_type: str, payload: bytes) -> bytes:
    """What a sighting is compared by."""
    return hashlib.blake2b(event_type.encode() + b"\0" + payload, digest_size=16).digest()


if __name__ == "__main__":
    {"record": record, "follow": follow}[sys.argv[1]](*sys.argv[2:])
