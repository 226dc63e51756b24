"""Logs of many small segments, whole or damaged in a given way, for the tests of losses, backups and salvage. Owns no test."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aresbus

SEGMENT_BYTES = 65_536
PATIENCE_S = 60
PAGE_BYTES = 4_096
RECORDS_OFFSET = 3 * PAGE_BYTES


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder where syncs cost nothing, if there is such a place: a kill loses nothing of what the kernel holds."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def fill(folder: Path, count: int, *, sealed: bool = False, begin: int = 0, **options) -> list[str]:
    """Append ``count`` events of some 250 bytes to a log of small segments, and close it; their ids."""
    sealing = "zstd" if sealed else "off"
    with aresbus.open(folder, segment_bytes=SEGMENT_BYTES, sealing=sealing, **options) as log:
        ids = append(log, count, begin=begin)
        log.sync()
        if sealed:
            until(lambda: len(raw_segments(folder)) <= 2)  # the one that is written, and the spare
    return ids


def raw_and_sealed(folders, count: int) -> dict[bool, Path]:
    """One raw log of ``count`` events and one sealed, by whether it is sealed, to be copied; ``folders`` is tmp_path_factory."""
    made = {}
    for sealed in (False, True):
        made[sealed] = folders.mktemp("whole") / "log"
        fill(made[sealed], count, sealed=sealed)
    return made


def copied(whole: dict[bool, Path], tmp_path: Path, *, sealed: bool = False) -> Path:
    """A copy of one of them."""
    return Path(shutil.copytree(whole[sealed], tmp_path / "log"))


def append(log: aresbus.Log, count: int, *, begin: int = 0) -> list[str]:
    """Append ``count`` events to three aggregates; their ids."""
    return [
        log.append(
            "order_placed", {"n": n, "note": "x" * 150}, aggregate_id=f"order-{n % 3}", source="test"
        ).event_id
        for n in range(begin, begin + count)
    ]


def numbers(folder: Path, **query) -> list[int]:
    """What was appended and reads now."""
    with aresbus.open(folder, mode="r") as log:
        return [event.data["n"] for event in log.read(types="order_placed", **query)]


def directory_offset(sealed: Path) -> int:
    """Where the directory of a sealed segment stands in its file (docs/format.md, "Sealed header")."""
    return int.from_bytes(sealed.read_bytes()[128:136], "little")


def segments(folder: Path) -> list[Path]:
    """The segment files of a log, raw and sealed, in order."""
    return sorted(one for one in (folder / "segments").iterdir() if one.suffix in {".log", ".seg"})


def raw_segments(folder: Path) -> list[Path]:
    return [one for one in segments(folder) if one.suffix == ".log"]


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


def wipe(path: Path, offset: int, count: int) -> None:
    """Write zeros over a part of a file."""
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(bytes(count))


def swap(first: Path, second: Path) -> None:
    """Give two files each other's name."""
    aside = first.with_suffix(".aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def snapshot_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its content."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def until(condition) -> None:
    """Wait for what another thread or process is about to do."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen")
        time.sleep(0.002)
