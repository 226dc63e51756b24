"""The folder that an export becomes: made aside, described by a manifest, put in its place by one rename.

Owns names, permissions, sums and the rename. Knows nothing of events. Invariants: what stands at the place is whole and on
the disk; a killed export leaves only a folder named as unfinished; nothing that was there is ever overwritten; no text of a
user's becomes part of a name.
"""

import hashlib
import os
import shutil
import tempfile
from os import PathLike
from pathlib import Path
from typing import IO, Any, Self

import orjson

from aresbus import durable_files
from aresbus.errors import ExportError
from aresbus.legacy.layout import MANIFEST
from aresbus.zstd import PackedWriter

__all__ = ["ExportFolder"]


class ExportFolder:
    """A context manager: the folder stands at ``out`` once :meth:`publish` returned, else nothing is left."""

    def __init__(self, out: str | PathLike[str], *, outside: str | None) -> None:
        """Raises ExportError where ``out`` is no empty folder, or lies in the folder ``outside``; OSError."""
        self._out = Path(out).resolve()
        if outside is not None and self._out.is_relative_to(Path(outside).resolve()):
            raise ExportError(f"{out} lies inside the log", path=str(out))
        if self._out.exists() and (not self._out.is_dir() or any(self._out.iterdir())):
            raise _not_empty(self._out)
        durable_files.make_folder(self._out.parent)
        self._aside = Path(
            tempfile.mkdtemp(prefix=f"{self._out.name}.", suffix=".unfinished", dir=self._out.parent)
        )
        self._entries: list[dict[str, Any]] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        shutil.rmtree(self._aside, ignore_errors=True)

    def create(self, name: str, *, packed: bool = False) -> IO[bytes] | PackedWriter:
        """A new file of that name, to be written, closed and sealed before the next; ``packed`` with zstd."""
        self._file = durable_files.create(self._aside / name)
        return PackedWriter(self._file) if packed else self._file

    def make_folder(self, name: str) -> None:
        """A folder inside, for the files whose names begin with it; nothing if it is there."""
        (self._aside / name).mkdir(mode=0o700, exist_ok=True)

    def seal(self, name: str, **facts: Any) -> None:
        """Make a closed file durable and enter it in the manifest, with ``facts`` about it."""
        with (self._aside / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, os.SEEK_END)
            os.fsync(file.fileno())
        self._entries.append({"name": name, **facts, "bytes": size, "sha256": digest})

    def publish(self, **facts: Any) -> None:
        """Write the manifest and put the folder in its place; durable on return. Raises ExportError, OSError."""
        manifest = {**facts, "files": self._entries}
        content = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        durable_files.write(self._aside / MANIFEST, content)
        for folder in (*filter(Path.is_dir, self._aside.iterdir()), self._aside):
            durable_files.sync_folder(folder)
        try:
            # Onto nothing or an empty folder; the kernel refuses any other, whoever made it meanwhile.
            self._aside.rename(self._out)
        except (FileExistsError, NotADirectoryError) as error:
            raise _not_empty(self._out) from error
        except OSError as error:
            if self._out.is_dir() and any(self._out.iterdir()):
                raise _not_empty(self._out) from error
            raise
        durable_files.sync_folder(self._out.parent)


def _not_empty(out: Path) -> ExportError:
    return ExportError(f"{out} is there and no empty folder", path=str(out))
