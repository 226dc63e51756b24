"""What sealing saves: bytes per event of a recorded feed.

Raw, sealed with each compression, and beside them the same lines under zstd -1 (P17), gzip as they come, and in a SQLite table. All
that is on disk counts, indexes too. What the sealer costs the appending thread is figures/latency.py's.

Prints a table. Logs lie under target/, which should be a disk; nothing is pinned. ``--capture`` names a recording as the
README of the recorded data describes it; by default the slice that the package ships.
"""

import argparse
import gzip
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aresbus
import measure
import zstandard
from aresbus.market_day import CAPTURES

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "bench-sealing"


def lines_of(path: Path) -> list[tuple[int, bytes]]:
    """Receive time in ns and message of each line."""
    with gzip.open(path, "rb") as file:
        parts = (line.rstrip(b"\n").split(b" ", 1) for line in file)
        return [(int(time_ns), message) for time_ns, message in parts]


def wait_until_sealed(log: aresbus.Log) -> list[dict]:
    """The statistics of all segments but the newest, once they are sealed."""
    while not all(one["is_sealed"] for one in log.stats()["segments"][:-1]):
        time.sleep(0.01)
    return log.stats()["segments"][:-1]


def on_disk(folder: Path, numbers: Sequence[int]) -> int:
    """Bytes of the files of these segments, indexes too."""
    files = (file for file in (folder / "segments").iterdir() if file.suffix != ".tmp")
    return sum(file.stat().st_size for file in files if int(file.name.partition(".")[0]) in numbers)


def sealed_bytes(messages: Sequence[tuple[int, bytes]], sealing: str, *, with_time: bool) -> float:
    """Bytes per event of the full segments of a log of these messages."""
    folder = FOLDER / "sizes"
    shutil.rmtree(folder, ignore_errors=True)
    with aresbus.open(folder, sealing=sealing, segment_bytes=1 << 20, audit=False, durability="none") as log:
        for time_ns, message in messages:
            event_time_ns = time_ns if with_time else None
            kind = "market_data_received"
            log.append_bytes(kind, message, encoding="json", source="feed", event_time_ns=event_time_ns)
        full = log.stats()["segments"][:-1] if sealing == "off" else wait_until_sealed(log)
        events = log.stats()["segments"][-1]["first_seq"]
    if sealing == "off":
        return sum(one["used_bytes"] for one in full) / events
    return on_disk(folder, {one["number"] for one in full}) / events


def sqlite_bytes(messages: Sequence[tuple[int, bytes]]) -> float:
    """Bytes per event of a table of times and messages."""
    path = FOLDER / "sizes.db"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as base:
        base.execute("create table events (seq integer primary key, time_ns integer, message blob)")
        base.executemany("insert into events (time_ns, message) values (?, ?)", messages)
    return path.stat().st_size / len(messages)


def sizes(capture: Path) -> Iterator[str]:
    """A table of bytes per event."""
    messages = lines_of(capture)
    lines = b"".join(b"%d %s\n" % one for one in messages)
    packed = len(zstandard.ZstdCompressor(level=1).compress(lines)) / len(messages)
    rows = [
        ("the lines", len(lines) / len(messages)),
        ("the lines, gzip as recorded", capture.stat().st_size / len(messages)),
        ("the lines, zstd -1", packed),
        ("SQLite: time and message", sqlite_bytes(messages)),
    ]
    for with_time in (False, True):
        what = ", with the receive time as event time" if with_time else ""
        for sealing in ("off", "none", "lz4", "zstd"):
            title = "raw" if sealing == "off" else f"sealed, {sealing}"
            rows.append((f"log {title}{what}", sealed_bytes(messages, sealing, with_time=with_time)))
    yield f"{len(messages):,} events of {capture.name}"
    yield "| stored as | bytes per event | of zstd -1 |"
    yield "| --- | --- | --- |"
    yield from (f"| {title} | {size:.1f} | {size / packed:.2f}× |" for title, size in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--capture", type=Path, default=CAPTURES[0].path)
    given = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    print(measure.machine(ROOT, FOLDER), flush=True)
    try:
        print("", *sizes(given.capture), sep="\n", flush=True)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main()
