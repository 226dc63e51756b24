"""Ctrl-C while a feed is recorded: between two lines, never inside an append or a closing.

Owns the handler of SIGINT for as long as it is entered. Knows no log. Invariants: the first Ctrl-C ends the feed, at once
if it is waiting for input, else behind the line at hand; a second one raises KeyboardInterrupt wherever it falls.
"""

import signal
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

__all__ = ["Interruption"]


class Interruption:
    """A context manager for the main thread; ``asked`` tells afterwards whether Ctrl-C ended the feed."""

    def __init__(self) -> None:
        self.asked: bool = False
        self._waiting = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        self._previous = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _on_interrupt(self, *_: object) -> None:
        if self._waiting or self.asked:
            self.asked = True
            raise KeyboardInterrupt
        self.asked = True

    def until(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines, up to the first Ctrl-C."""
        source = iter(lines)
        while not self.asked:
            try:
                self._waiting = True
                line = next(source, None)
                self._waiting = False
            except KeyboardInterrupt:
                return
            finally:
                self._waiting = False
            if line is None:
                return
            yield line
