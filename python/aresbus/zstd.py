"""Files packed with zstd: written in one frame, read back line by line, a cut-off end told from a whole one.

Owns the choice of the library: that of Python 3.14 where there is one, else the package `zstandard`, imported at first use.
Knows no layout and no log. Invariants: the same bytes packed by the same library give the same file; what was packed has
a checksum.
"""

import io
import sys
from importlib import import_module
from typing import IO, Any

from aresbus._typing import override

__all__ = ["PackedWriter", "unpacked"]

LEVEL = 3
BLOCK_BYTES = 16_384
"""Read at once from a packed file: what it unpacks to stays bounded."""


def _library() -> Any:
    """The module that packs. Raises ImportError that says what to install."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "zstandard"
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"zstd needs the package {name}: pip install aresbus[zstd]") from error


class PackedWriter:
    """Packs what is written into ``file``, which it closes. A context manager."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises ImportError where no library is installed."""
        library = _library()
        self._file = file
        if sys.version_info >= (3, 14):
            options = {
                library.CompressionParameter.compression_level: LEVEL,
                library.CompressionParameter.checksum_flag: 1,
            }
            self._packer: Any = library.ZstdCompressor(options=options)
        else:
            self._packer = library.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()

    def write(self, data: bytes) -> None:
        """Pack the data behind what was written."""
        self._file.write(self._packer.compress(data))

    def close(self) -> None:
        """Write the end of the frame and close the file."""
        self._file.write(self._packer.flush())
        self._file.close()


def unpacked(file: IO[bytes]) -> io.BufferedReader:
    """The unpacked content of ``file``, which is closed with it.

    Raises ImportError where no library is installed. Reading raises EOFError where the file ends in the middle of a frame,
    OSError where it is damaged or no zstd.
    """
    return io.BufferedReader(_Unpacked(file))


class _Unpacked(io.RawIOBase):
    def __init__(self, file: IO[bytes]) -> None:
        self._library = _library()
        self._file = file
        self._frame: Any = None
        self._packed = self._ready = b""

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._packed:
                self._packed = self._file.read(BLOCK_BYTES)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the file ends in the middle of its zstd data")
                return 0
            self._unpack()
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _unpack(self) -> None:
        library = self._library
        if self._frame is None:
            is_own = sys.version_info >= (3, 14)
            self._frame = library.ZstdDecompressor() if is_own else library.ZstdDecompressor().decompressobj()
        try:
            self._ready = self._frame.decompress(self._packed)
        except library.ZstdError as error:
            raise OSError(f"no intact zstd data: {error}") from error
        self._packed = b""
        if self._frame.eof:
            self._packed, self._frame = self._frame.unused_data, None

    @override
    def close(self) -> None:
        self._file.close()
        super().close()
