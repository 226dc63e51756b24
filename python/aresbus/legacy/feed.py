"""A file of the older layout as numbered lines, from its start or from behind a line that is known.

Owns reading and the place of a line. Knows neither events nor logs. Invariants: a place is believed only if the line there
is still the one that was read from it; no line is held in memory beyond the limit.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from aresbus.legacy.layout import is_packed
from aresbus.zstd import unpacked

__all__ = ["Line", "Place", "lines_behind", "lines_of", "open_file"]

MAX_LINE_BYTES = 64 * 1024 * 1024
"""The largest segment of a log by default: no event is larger."""
SKIP_BYTES = 1 << 20
ORIGIN = re.compile(r"([^:]+):([0-9]{1,18}):([0-9]{1,18})")


class Line(NamedTuple):
    """One line: its number from 1, where it begins in the unpacked file, and its bytes; None where it is too long."""

    number: int
    start: int
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Place:
    """A line that became an event: where it stands, and the event's id."""

    number: int
    start: int
    event_id: str

    @staticmethod
    def parse(origin: str, event_id: str) -> tuple[str, "Place"] | None:
        """File name and place from ``FILE:LINE:OFFSET``; None for any other text."""
        found = ORIGIN.fullmatch(origin)
        return None if found is None else (found[1], Place(int(found[2]), int(found[3]), event_id))

    def origin(self, file: str) -> str:
        """The inverse of :meth:`parse`."""
        return f"{file}:{self.number}:{self.start}"


def open_file(path: Path) -> IO[bytes]:
    """Open an event file, unpacked. Raises OSError; ImportError for a packed one without its library."""
    file = path.open("rb")
    return unpacked(file) if is_packed(path) else file


def lines_of(file: IO[bytes], number: int = 0, start: int = 0) -> Iterator[Line]:
    """The lines from here on; ``number`` lines and ``start`` bytes lie before."""
    while content := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        size = len(content)
        if size > MAX_LINE_BYTES and not content.endswith(b"\n"):
            size += _rest_of_line(file)
            yield Line(number, start, None)
        else:
            yield Line(number, start, content)
        start += size


def lines_behind(
    file: IO[bytes], place: Place, event_id_of: Callable[[bytes], str | None]
) -> Iterator[Line] | None:
    """The lines behind ``place``; None, the file being anywhere, where the line there is not the one known."""
    if not _skip(file, place.start):
        return None
    line = next(lines_of(file, place.number - 1, place.start), None)
    if line is None or line.content is None or event_id_of(line.content) != place.event_id:
        return None
    return lines_of(file, line.number, line.start + len(line.content))


def _skip(file: IO[bytes], size: int) -> bool:
    """Go ``size`` bytes on from the start of the file; whether it has as many."""
    if file.seekable():
        return file.seek(size) == size
    while size:
        read = len(file.read(min(size, SKIP_BYTES)))
        if not read:
            return False
        size -= read
    return True


def _rest_of_line(file: IO[bytes]) -> int:
    size = 0
    while rest := file.readline(SKIP_BYTES):
        size += len(rest)
        if rest.endswith(b"\n"):
            break
    return size
